//! The sizes of batches that a replica has run. The first run of a size takes longer, as the
//! runtime plans and allocates for it.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;

/// Sizes that are told apart. Of two with the same bit, the second never counts as new.
const BITS: usize = 4096;

const WORDS: usize = BITS / 64;

/// A set of sizes.
#[derive(Debug)]
pub(super) struct SeenSizes(Box<[u64; WORDS]>);

impl Default for SeenSizes {
    fn default() -> Self {
        Self(Box::new([0; WORDS]))
    }
}

impl SeenSizes {
    /// Inserts a number of rows of a batch key. Returns true if it is new.
    pub(super) fn insert(&mut self, rows: usize, key: &[usize]) -> bool {
        let bit = bit(rows, key);
        let (word, mask) = (&mut self.0[bit / 64], 1 << (bit % 64));
        let is_new = *word & mask == 0;
        *word |= mask;
        is_new
    }
}

/// Usual sizes of a model with one batch key never share a bit.
fn bit(rows: usize, key: &[usize]) -> usize {
    if key.is_empty() {
        return rows % BITS;
    }
    let mut hasher = DefaultHasher::new();
    hasher.write_usize(rows);
    key.iter().for_each(|&dim| hasher.write_usize(dim));
    (hasher.finish() % BITS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_new_once_for_each_batch_key() {
        let mut sizes = SeenSizes::default();
        for key in [&[][..], &[128], &[256]] {
            assert!(sizes.insert(8, key), "{key:?}");
            assert!(!sizes.insert(8, key), "{key:?}");
        }
        assert!((0..1000).all(|rows| rows == 8 || sizes.insert(rows, &[])));
    }
}
