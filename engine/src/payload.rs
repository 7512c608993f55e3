//! Received bytes in one or more chunks. A large body is copied only once: into the batch that runs
//! it.

use bytes::Bytes;
use smallvec::{SmallVec, smallvec};
use std::borrow::Cow;

/// A sequence of bytes in chunks.
#[derive(Clone, Debug, Default)]
pub struct Payload {
    chunks: SmallVec<[Bytes; 1]>,
    len: usize,
}

impl Payload {
    /// Appends a chunk.
    pub fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.len += chunk.len();
            self.chunks.push(chunk);
        }
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Splits off the first `count` bytes without a copy; `None` if there are fewer.
    pub fn split_to(&mut self, count: usize) -> Option<Self> {
        let rest_len = self.len.checked_sub(count)?;
        let mut head = Self::default();
        let mut whole = 0;
        for chunk in &mut self.chunks {
            let wanted = count - head.len;
            if wanted < chunk.len() {
                if wanted > 0 {
                    head.push(chunk.split_to(wanted));
                }
                break;
            }
            head.push(std::mem::take(chunk));
            whole += 1;
        }
        self.chunks.drain(..whole);
        self.len = rest_len;
        Some(head)
    }

    /// Copies all bytes into a slice of the same length; returns false if the lengths differ.
    #[must_use]
    pub fn copy_to(&self, target: &mut [u8]) -> bool {
        if target.len() != self.len {
            return false;
        }
        let mut at = 0;
        for chunk in &self.chunks {
            target[at..at + chunk.len()].copy_from_slice(chunk);
            at += chunk.len();
        }
        true
    }

    /// All bytes as one slice, copied only if they are in several chunks.
    pub fn contiguous(&self) -> Cow<'_, [u8]> {
        match self.chunks.as_slice() {
            [] => Cow::Borrowed(&[]),
            [chunk] => Cow::Borrowed(chunk),
            chunks => Cow::Owned(chunks.concat()),
        }
    }

    /// All bytes as one chunk, copied only if they are in several.
    pub fn into_bytes(mut self) -> Bytes {
        match self.chunks.len() {
            0 => Bytes::new(),
            1 => std::mem::take(&mut self.chunks[0]),
            _ => Bytes::from(self.chunks.concat()),
        }
    }
}

/// Compares bytes, independent of chunks.
impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.contiguous() == other.contiguous()
    }
}

impl Eq for Payload {}

impl From<Bytes> for Payload {
    fn from(chunk: Bytes) -> Self {
        Self { len: chunk.len(), chunks: smallvec![chunk] }
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chunks(parts: &[&'static [u8]]) -> Payload {
        let mut payload = Payload::default();
        parts.iter().for_each(|part| payload.push(Bytes::from_static(part)));
        payload
    }

    #[test]
    fn splits_at_every_offset() {
        let whole = b"abcdefgh";
        for at in 0..=whole.len() {
            let mut tail = chunks(&[b"abc", b"", b"de", b"fgh"]);
            let head = tail.split_to(at).unwrap();
            assert_eq!(&*head.contiguous(), &whole[..at]);
            assert_eq!(&*tail.contiguous(), &whole[at..]);
            assert_eq!((head.len(), tail.len()), (at, whole.len() - at));
        }
        assert!(chunks(&[b"abc"]).split_to(4).is_none());
    }

    proptest! {
        #[test]
        fn splitting_never_changes_the_bytes(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5), 0..6),
            cuts in prop::collection::vec(0..12_usize, 0..6),
        ) {
            let mut whole = parts.concat();
            let mut payload = Payload::default();
            parts.into_iter().for_each(|part| payload.push(part.into()));
            for cut in cuts {
                let head = payload.split_to(cut);
                prop_assert_eq!(head.is_some(), cut <= whole.len());
                let Some(head) = head else { continue };
                let tail = whole.split_off(cut);
                prop_assert_eq!((head.len(), head.is_empty()), (cut, cut == 0));
                let mut copy = vec![0; cut];
                prop_assert!(head.copy_to(&mut copy));
                prop_assert_eq!(&copy, &whole);
                prop_assert_eq!(head.into_bytes(), &whole);
                whole = tail;
            }
            prop_assert_eq!(payload.len(), whole.len());
            prop_assert_eq!(payload.into_bytes(), whole);
        }
    }

    #[test]
    fn an_empty_chunk_is_ignored() {
        let mut payload = Payload::from(Vec::new());
        assert!(payload.is_empty() && payload.split_to(1).is_none());
        assert!(payload.split_to(0).is_some_and(|head| head.is_empty()));
        payload.push(Bytes::from_static(b"a"));
        assert_eq!(payload.into_bytes(), "a");
    }

    #[test]
    fn copies_only_into_a_target_of_its_length() {
        let payload = chunks(&[b"ab", b"c"]);
        let mut target = [0; 3];
        assert!(payload.copy_to(&mut target));
        assert_eq!(&target, b"abc");
        assert!(!payload.copy_to(&mut [0; 4]));
        assert_eq!(payload.into_bytes(), Bytes::from_static(b"abc"));
    }
}
