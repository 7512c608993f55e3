//! The distinct words of a tensor, in order, and each word as an index into them.

use super::adaptive::{Decoder, Encoder, Tree};
use super::cursor::CodecError;
use super::words::Form;

/// Limit of the words of a codebook: a code has 16 bits.
pub(crate) const DISTINCT_MAX: usize = 1 << 16;
/// Bits of the bit length of a difference.
const LENGTH_BITS: u32 = 7;

/// Words as codes: indices into a list of the distinct words, in the order of their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Coding {
    pub(crate) words: Vec<u64>,
    pub(crate) codes: Vec<u16>,
}

impl Coding {
    /// Codes `words`, if at most [`DISTINCT_MAX`] of them are distinct.
    pub(crate) fn of(form: Form, words: impl Iterator<Item = u64>) -> Option<Self> {
        let mut found = WordTable::new();
        let first: Option<Vec<u16>> = words.map(|word| found.code(word)).collect();
        let (mut codes, words) = (first?, found.words);
        let mut order: Vec<u16> = (0..words.len()).map(|code| code as u16).collect();
        order.sort_unstable_by_key(|code| form.key(words[usize::from(*code)]));
        let mut position = vec![0; words.len()];
        for (new, old) in order.iter().enumerate() {
            position[usize::from(*old)] = new as u16;
        }
        codes.iter_mut().for_each(|code| *code = position[usize::from(*code)]);
        let words = order.iter().map(|old| words[usize::from(*old)]).collect();
        Some(Self { words, codes })
    }
}

/// The distinct words so far: a hash table with open addressing, at most half full.
struct WordTable {
    /// Codes plus one of the words in the slots; 0 for an empty slot.
    table: Vec<u32>,
    words: Vec<u64>,
}

impl WordTable {
    const SLOT_BITS: u32 = 17;

    fn new() -> Self {
        Self { table: vec![0; 1 << Self::SLOT_BITS], words: Vec::new() }
    }

    /// Returns the code of a word, which may be a new one; `None` when there are too many.
    fn code(&mut self, word: u64) -> Option<u16> {
        // Multiplying by the golden ratio spreads neighbours (Knuth, volume 3, 6.4).
        let hash = word.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - Self::SLOT_BITS);
        let mut slot = hash as usize;
        loop {
            match self.table[slot] {
                0 => break,
                code if self.words[code as usize - 1] == word => return Some((code - 1) as u16),
                _ => slot = (slot + 1) % self.table.len(),
            }
        }
        if self.words.len() == DISTINCT_MAX {
            return None;
        }
        self.words.push(word);
        self.table[slot] = self.words.len() as u32;
        Some((self.words.len() - 1) as u16)
    }
}

/// Encodes a codebook: the first key, then the differences of the keys. A difference is its bit
/// length, given the one before, and its bits.
pub(crate) fn encode(form: Form, words: &[u64]) -> Vec<u8> {
    let mut encoder = Encoder::new();
    let mut length_tree = Tree::new(LENGTH_BITS);
    let mut before = None;
    for key in words.iter().map(|word| form.key(*word)) {
        match before {
            None => encoder.put_uniform(key, form.bits()),
            Some(before) => {
                let difference: u64 = key - before;
                let length = u64::BITS - difference.leading_zeros();
                encoder.put(&mut length_tree, length);
                encoder.put_uniform(difference, length - 1);
            }
        }
        before = Some(key);
    }
    encoder.finish()
}

/// Reads a codebook of `count` words.
pub(crate) fn decode(form: Form, bytes: &[u8], count: usize) -> Result<Vec<u64>, CodecError> {
    let mut decoder = Decoder::new(bytes);
    let mut length_tree = Tree::new(LENGTH_BITS);
    let mut words = Vec::with_capacity(count.min(DISTINCT_MAX));
    let mut key = 0;
    for i in 0..count.min(DISTINCT_MAX) {
        if i == 0 {
            key = decoder.take_uniform(form.bits());
        } else {
            let length = decoder.take(&mut length_tree);
            if !(1..=form.bits()).contains(&length) {
                return Err(CodecError::new("a codebook's words are not in order"));
            }
            let difference = 1 << (length - 1) | decoder.take_uniform(length - 1);
            let next = key.checked_add(difference).filter(|key| *key <= form.mask());
            key = next.ok_or(CodecError::new("a codebook's word is too large"))?;
        }
        words.push(form.word(key));
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use skysail_graph::ElementType;

    fn form(count: usize) -> Form {
        Form::of(ElementType::Float32, 4 * count).unwrap()
    }

    fn words_of(values: &[f32]) -> Vec<u64> {
        values.iter().map(|value| u64::from(value.to_bits())).collect()
    }

    fn check(words: &[u64]) {
        let form = form(words.len());
        let coding = Coding::of(form, words.iter().copied()).unwrap();
        assert!(coding.words.is_sorted_by(|a, b| form.key(*a) < form.key(*b)));
        let back: Vec<u64> =
            coding.codes.iter().map(|code| coding.words[usize::from(*code)]).collect();
        assert_eq!(back, words);
        let bytes = encode(form, &coding.words);
        assert_eq!(decode(form, &bytes, coding.words.len()).unwrap(), coding.words);
    }

    proptest! {
        #[test]
        fn words_are_restored(words in proptest::collection::vec(any::<u32>(), 0..300), step in 1_u32..5) {
            check(&words.iter().map(|word| u64::from(*word)).collect::<Vec<_>>());
            // The second list has few words, close to each other.
            check(&words.iter().map(|word| u64::from(word % 40 * step)).collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_are_a_codebook_or_rejected(bytes: Vec<u8>, count in 0_usize..400) {
            let form = form(count);
            if let Ok(words) = decode(form, &bytes, count) {
                prop_assert_eq!(words.len(), count);
                prop_assert!(words.is_sorted_by(|a, b| form.key(*a) < form.key(*b)));
            }
        }
    }

    #[test]
    fn special_floats_keep_their_bits() {
        let strange = [0.0, -0.0, f32::NAN, -f32::NAN, f32::INFINITY, f32::from_bits(0x7F80_0001)];
        check(&words_of(&strange));
        check(&[u64::from(u32::MAX), 0, u64::from(u32::MAX)]);
    }

    #[test]
    fn a_sorted_codebook_is_smaller_than_its_values() {
        let bell: Vec<f32> =
            (1..256).map(|i| ((i as f32 / 256.0) / (1.0 - i as f32 / 256.0)).ln()).collect();
        let form = form(bell.len());
        let coding = Coding::of(form, words_of(&bell).into_iter()).unwrap();
        let bytes = encode(form, &coding.words).len();
        assert!(bytes < 255 * 3, "{bytes}");
    }

    #[test]
    fn too_many_distinct_words_have_no_coding() {
        let count = DISTINCT_MAX as u64;
        assert!(Coding::of(form(1), 0..count).is_some());
        assert!(Coding::of(form(1), 0..=count).is_none());
    }
}
