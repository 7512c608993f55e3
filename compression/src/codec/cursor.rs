//! Reads a part of an untrusted file: every step is checked, and an error says where. Writing is
//! plain, into a `Vec`.

/// An error in coded bytes, and its offset. The caller adds the name of the tensor or section.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}, at byte {offset} of it")]
pub struct CodecError {
    /// Description of the error.
    pub problem: &'static str,
    /// Offset in bytes from the beginning of the coded bytes.
    pub offset: usize,
}

impl CodecError {
    /// Creates an error at the beginning, or of the whole.
    pub(crate) fn new(problem: &'static str) -> Self {
        Self { problem, offset: 0 }
    }

    /// Converts the error to the offsets of enclosing bytes, in which these begin at `start`.
    pub(crate) fn within(self, start: usize) -> Self {
        Self { offset: self.offset.saturating_add(start), ..self }
    }
}

/// Bytes and the offset of the next one to read. Invariant: `at <= bytes.len()`.
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Returns the offset of the next byte.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Returns the unread bytes without reading them.
    pub(crate) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], CodecError> {
        match self.rest().get(..length) {
            Some(taken) => {
                self.at += length;
                Ok(taken)
            }
            None => Err(self.fail("the bytes end too early")),
        }
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        match self.rest().first_chunk() {
            Some(chunk) => {
                self.at += N;
                Ok(*chunk)
            }
            None => Err(self.fail("the bytes end too early")),
        }
    }

    pub(crate) fn byte(&mut self) -> Result<u8, CodecError> {
        self.array().map(|[byte]| byte)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, CodecError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, CodecError> {
        self.array().map(u64::from_le_bytes)
    }

    /// Reads a varint: groups of seven bits, the lowest first, each byte but the last with its
    /// highest bit set.
    pub(crate) fn varint(&mut self) -> Result<u64, CodecError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.fail("a number has more than 64 bits"))
    }

    /// Reads a varint that counts things in memory.
    pub(crate) fn length(&mut self) -> Result<usize, CodecError> {
        let value = self.varint()?;
        usize::try_from(value).map_err(|_| self.fail("a number is too large for this machine"))
    }

    /// Creates an error at the current offset.
    pub(crate) fn fail(&self, problem: &'static str) -> CodecError {
        CodecError { problem, offset: self.at }
    }
}

/// Appends `value` as a varint, for [`Cursor::varint`].
pub(crate) fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn varints_are_restored(value: u64, small in 0_u64..300) {
            for value in [value, small] {
                let mut bytes = Vec::new();
                put_varint(&mut bytes, value);
                let mut cursor = Cursor::new(&bytes);
                prop_assert_eq!(cursor.varint(), Ok(value));
                prop_assert!(cursor.rest().is_empty());
                prop_assert!(Cursor::new(&bytes[..bytes.len() - 1]).varint().is_err());
            }
        }
    }

    #[test]
    fn nothing_is_read_past_the_end() {
        let mut cursor = Cursor::new(&[1, 2, 3]);
        assert_eq!(cursor.byte(), Ok(1));
        let error = cursor.u32().unwrap_err();
        assert_eq!(error.to_string(), "the bytes end too early, at byte 1 of it");
        assert!(cursor.take(usize::MAX).is_err());
        assert_eq!(cursor.take(2), Ok([2, 3].as_slice()));
        assert_eq!(error.within(10).offset, 11);
    }

    #[test]
    fn numbers_past_64_bits_are_rejected() {
        let longest = [[0xFF; 9].as_slice(), &[1]].concat();
        assert_eq!(Cursor::new(&longest).varint(), Ok(u64::MAX));
        assert!(Cursor::new(&[0xFF; 11]).varint().is_err());
    }
}
