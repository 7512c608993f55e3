//! In which order examples come: shuffled anew each epoch, the same for all ranks.

use crate::random::Random;

/// The order of the examples in each epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// How many examples there are.
    pub rows: usize,
    /// What the shuffles come from.
    pub seed: u64,
}

impl Order {
    /// All rows in the order of an epoch, which comes from the seed and the epoch alone.
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
    fn each_epoch_has_every_row_once_in_an_order_of_its_own() {
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
