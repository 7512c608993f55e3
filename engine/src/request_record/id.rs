//! Request ids: the caller's or a generated one, of bounded size and without allocation.

use skysail_policy::mix64;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bytes of a caller's id that are kept: enough for a UUID.
const BYTES_MAX: usize = 46;

/// Id of one request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId(Kind);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Callers { length: u8, text: [u8; BYTES_MAX] },
    Own(u64),
}

/// Numbers that a thread reserves at a time, to avoid contention on the counter.
const BLOCK: u64 = 1 << 16;

static NEXT_BLOCK: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static NEXT: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

impl RequestId {
    /// Generates an id that is unique in this process.
    pub fn own() -> Self {
        let number = NEXT.with(|next| {
            let mut number = next.get();
            if number.is_multiple_of(BLOCK) {
                number = NEXT_BLOCK.fetch_add(1, Relaxed).wrapping_mul(BLOCK);
            }
            next.set(number + 1);
            number
        });
        Self(Kind::Own(number))
    }

    /// Hashes the caller's id, the same in every process; 0 for a generated one.
    pub fn stable_key(&self) -> u64 {
        let Kind::Callers { length, text } = &self.0 else { return 0 };
        let words = text[..usize::from(*length)].chunks(8).map(|chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_le_bytes(word)
        });
        words.fold(u64::from(*length), |hash, word| mix64(hash ^ word))
    }

    /// Takes the caller's id, truncated if too long, or generates one if it is empty.
    ///
    /// Control characters become blanks, so that an id can not forge a line of the log.
    pub fn of_caller(name: &str) -> Self {
        if name.is_empty() {
            return Self::own();
        }
        let cut = &name[..name.floor_char_boundary(BYTES_MAX)];
        let (mut text, mut length) = ([0; BYTES_MAX], 0);
        for c in cut.chars() {
            // A blank is never longer than the character that it replaces, so all fits.
            let c = if c.is_control() { ' ' } else { c };
            length += c.encode_utf8(&mut text[length..]).len();
        }
        let length = u8::try_from(length).unwrap_or(u8::MAX);
        Self(Kind::Callers { length, text })
    }

    /// True if the caller chose the id.
    pub fn is_callers(&self) -> bool {
        matches!(self.0, Kind::Callers { .. })
    }
}

/// Generated ids are sixteen hexadecimal digits, and differ after a restart.
impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Callers { length, text } => {
                let bytes = text.get(..usize::from(*length)).unwrap_or_default();
                f.write_str(std::str::from_utf8(bytes).unwrap_or_default())
            }
            Kind::Own(number) => write!(f, "{:016x}", process_key().wrapping_add(*number)),
        }
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

/// A number that differs between processes.
fn process_key() -> u64 {
    static KEY: OnceLock<u64> = OnceLock::new();
    *KEY.get_or_init(|| RandomState::new().hash_one(std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn generated_ids_differ_across_threads() {
        let take = || (0..1000).map(|_| RequestId::own().to_string()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(take)).collect();
        let all: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 4000);
        assert!(all.iter().all(|name| name.len() == 16));
    }

    #[test]
    fn control_characters_in_a_callers_id_become_blanks() {
        let forged = RequestId::of_caller("a\r\n2026 WARN b\u{1b}[31m\u{85}\u{9b}c");
        assert_eq!(forged.to_string(), "a  2026 WARN b [31m  c");
        let controls = "\u{85}".repeat(100);
        assert_eq!(RequestId::of_caller(&controls).to_string(), " ".repeat(23));
    }

    #[test]
    fn a_callers_id_is_truncated_between_characters() {
        assert_eq!(RequestId::of_caller("a\"b").to_string(), "a\"b");
        let long = "ä".repeat(100);
        assert_eq!(RequestId::of_caller(&long).to_string(), "ä".repeat(23));
        assert!(!RequestId::of_caller("").is_callers());
        assert!(size_of::<RequestId>() <= 48, "{}", size_of::<RequestId>());
    }
}
