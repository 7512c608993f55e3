//! The order of rows: shuffled in each epoch, the same on all ranks.

use crate::random::Random;

/// The order of rows in each epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// Number of rows.
    pub rows: usize,
    /// Seed of the shuffles.
    pub seed: u64,
}

impl Order {
    /// All rows in the order of an epoch, which depends on the seed and the epoch only.
    pub fn of_epoch(&self, epoch: u64) -> Vec<u32> {
        let mut rows: Vec<u32> = (0..self.rows).map(|row| row as u32).collect();
        Random::of(&[self.seed, epoch]).shuffle(&mut rows);
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_epoch_has_every_row_once_in_another_order() {
        let order = Order { rows: 100, seed: 1 };
        let (first, second) = (order.of_epoch(0), order.of_epoch(1));
        assert_ne!(first, second);
        assert_eq!(first, order.of_epoch(0));
        assert_ne!(first, Order { rows: 100, seed: 2 }.of_epoch(0));
        let mut sorted = second;
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..100));
    }
}
