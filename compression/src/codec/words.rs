//! A tensor's values as words: numbers of 1, 2, 4 or 8 bytes, compared by their bits.

use super::cursor::CodecError;
use skysail_graph::ElementType;

/// Meaning of the bits of a word, for the order of a codebook and the split into planes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// A float: sign, exponent, mantissa.
    Float,
    /// A signed integer in two's complement.
    Signed,
    /// Any other word.
    Unsigned,
}

/// Number and kind of a tensor's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Form {
    /// Bytes of a word: 1, 2, 4 or 8.
    pub(crate) width: usize,
    pub(crate) meaning: Meaning,
    pub(crate) count: usize,
}

impl Form {
    /// Returns the form of a tensor of `bytes` bytes in all. Complex numbers are two words each,
    /// and elements of less than a byte share one. `None` for strings and unknown types.
    pub(crate) fn of(element: ElementType, bytes: usize) -> Option<Self> {
        use ElementType as E;
        let (width, meaning) = match element {
            E::Float32 | E::Complex64 => (4, Meaning::Float),
            E::Float64 | E::Complex128 => (8, Meaning::Float),
            E::Float16 | E::BFloat16 => (2, Meaning::Float),
            E::Int8 => (1, Meaning::Signed),
            E::Int16 => (2, Meaning::Signed),
            E::Int32 => (4, Meaning::Signed),
            E::Int64 => (8, Meaning::Signed),
            E::UInt16 => (2, Meaning::Unsigned),
            E::UInt32 => (4, Meaning::Unsigned),
            E::UInt64 => (8, Meaning::Unsigned),
            E::String | E::Other(_) => return None,
            // Other types have a byte or less.
            _ => (1, Meaning::Unsigned),
        };
        Some(Self { width, meaning, count: bytes / width })
    }

    pub(crate) fn bytes(self) -> usize {
        self.count * self.width
    }

    pub(crate) fn bits(self) -> u32 {
        8 * self.width as u32
    }

    /// Returns the words of `bytes`.
    pub(crate) fn words(self, bytes: &[u8]) -> impl Iterator<Item = u64> {
        bytes.chunks_exact(self.width).map(word)
    }

    /// Converts a word to a number that sorts as the values do.
    pub(crate) fn key(self, word: u64) -> u64 {
        let top = 1 << (self.bits() - 1);
        match self.meaning {
            Meaning::Float if word & top != 0 => word ^ self.mask(),
            Meaning::Float | Meaning::Signed => word ^ top,
            Meaning::Unsigned => word,
        }
    }

    /// Returns the word of a [`key`](Self::key).
    pub(crate) fn word(self, key: u64) -> u64 {
        let top = 1 << (self.bits() - 1);
        match self.meaning {
            Meaning::Float if key & top == 0 => key ^ self.mask(),
            Meaning::Float | Meaning::Signed => key ^ top,
            Meaning::Unsigned => key,
        }
    }

    /// Returns the largest word.
    pub(crate) fn mask(self) -> u64 {
        u64::MAX >> (64 - self.bits())
    }

    /// Allocates all words as zeros.
    pub(crate) fn zeros(self) -> Result<Vec<u8>, CodecError> {
        zeros(self.bytes())
    }
}

/// Reads a word of up to 8 bytes, little-endian.
fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// Returns the lowest `W` bytes of each word.
pub(crate) fn narrow<const W: usize>(words: &[u64]) -> Vec<[u8; W]> {
    let low = |word: &u64| {
        let bytes = word.to_le_bytes();
        std::array::from_fn(|i| bytes[i])
    };
    words.iter().map(low).collect()
}

/// Allocates `count` zeros, if there is memory for them. The system provides pages of zeros, so
/// nothing is written twice.
pub(crate) fn zeros<T: bytemuck::Zeroable>(count: usize) -> Result<Vec<T>, CodecError> {
    bytemuck::allocation::try_zeroed_vec(count)
        .map_err(|()| CodecError::new("there is not enough memory for it"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FORMS: [(ElementType, usize); 5] = [
        (ElementType::Float32, 4),
        (ElementType::Float16, 2),
        (ElementType::Int64, 8),
        (ElementType::Int8, 1),
        (ElementType::UInt16, 2),
    ];

    proptest! {
        #[test]
        fn keys_are_one_to_one(word: u64) {
            for (element, width) in FORMS {
                let form = Form::of(element, width).unwrap();
                let word = word & form.mask();
                prop_assert_eq!(form.word(form.key(word)), word);
                prop_assert!(form.key(word) <= form.mask());
            }
        }

        #[test]
        fn keys_are_in_the_order_of_values(a: f32, b: f32) {
            let form = Form::of(ElementType::Float32, 4).unwrap();
            let key = |value: f32| form.key(u64::from(value.to_bits()));
            prop_assert_eq!(a < b, key(a) < key(b) && a != b);
        }
    }

    #[test]
    fn words_are_little_endian_and_of_the_elements_size() {
        let form = Form::of(ElementType::Complex64, 8).unwrap();
        assert_eq!((form.width, form.count), (4, 2));
        let words: Vec<u64> = form.words(&[1, 0, 0, 0, 0, 0, 0, 0x80]).collect();
        assert_eq!(words, [1, 0x8000_0000]);
        assert_eq!(narrow::<4>(&words), [[1, 0, 0, 0], [0, 0, 0, 0x80]]);
        assert_eq!(Form::of(ElementType::Int4, 3).unwrap().count, 3);
        assert!(Form::of(ElementType::String, 0).is_none());
        assert!(Form::of(ElementType::Other(99), 0).is_none());
    }
}
