//! The sizes of batches that a replica has run. The first run of a size takes longer: the runtime
//! plans and allocates for it.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;

/// Sizes that are told apart. Of two that fall together, the second is never seen to be new.
const BITS: usize = 4096;

const WORDS: usize = BITS / 64;

/// A set of sizes.
#[derive(Debug)]
pub(super) struct Sizes(Box<[u64; WORDS]>);

impl Default for Sizes {
    fn default() -> Self {
        Self(Box::new([0; WORDS]))
    }
}

impl Sizes {
    /// Puts a number of rows of a batch key in; whether it is new.
    pub(super) fn insert(&mut self, rows: usize, batch_key: &[usize]) -> bool {
        let bit = place(rows, batch_key);
        let (word, mask) = (&mut self.0[bit / 64], 1 << (bit % 64));
        let is_new = *word & mask == 0;
        *word |= mask;
        is_new
    }
}

/// Usual sizes of a model with one batch key never fall together.
fn place(rows: usize, batch_key: &[usize]) -> usize {
    if batch_key.is_empty() {
        return rows % BITS;
    }
    let mut hasher = DefaultHasher::new();
    hasher.write_usize(rows);
    batch_key.iter().for_each(|&dim| hasher.write_usize(dim));
    (hasher.finish() % BITS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_new_once_for_each_lane() {
        let mut sizes = Sizes::default();
        for batch_key in [&[][..], &[128], &[256]] {
            assert!(sizes.insert(8, batch_key), "{batch_key:?}");
            assert!(!sizes.insert(8, batch_key), "{batch_key:?}");
        }
        assert!((0..1000).filter(|_| true).all(|rows| rows == 8 || sizes.insert(rows, &[])));
    }
}
