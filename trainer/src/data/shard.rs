//! Division of rows among ranks and clients.

use super::dataset::Dataset;
use super::error::DataError;
use crate::batch::Targets;
use crate::random::Random;
use std::ops::Range;

/// A rank's part of every batch. The parts of a step are disjoint, and so are those of an epoch.
/// Together they are the batch of a single rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    rank: usize,
    world: usize,
    /// Rows of a step over all ranks.
    batch: usize,
    rows: usize,
}

impl Shard {
    /// The part of `rank`, where each step has `batch` rows over all ranks.
    ///
    /// # Errors
    /// `TooFew` when some rank would have no data.
    pub fn of(data: &Dataset, batch: usize, rank: usize, world: usize) -> Result<Self, DataError> {
        let rows = data.rows();
        let world = world.max(1);
        let too_few =
            |problem| Err(DataError::TooFew { data: data.name().to_owned(), rows, problem });
        if rows < world || batch < world {
            return too_few(format!(
                "a batch of {batch} leaves some of {world} ranks without data"
            ));
        }
        if rows < batch {
            return too_few(format!("a batch has {batch}"));
        }
        Ok(Self { rank, world, batch, rows })
    }

    /// Steps of an epoch. The remainder is left out, with other rows each time.
    pub fn steps(&self) -> u64 {
        (self.rows / self.batch) as u64
    }

    /// Range of this rank's part of a step in the order of the epoch.
    pub fn range(&self, step: u64) -> Range<usize> {
        let start = (step % self.steps().max(1)) as usize * self.batch;
        // Parts differ by one row if the batch is not divisible.
        let from = |rank: usize| start + rank * self.batch / self.world;
        from(self.rank)..from(self.rank + 1)
    }
}

/// Divides the rows randomly and evenly among clients: the IID split of FedAvg (McMahan et al.
/// 2017, section 3). The remainder is left out.
///
/// # Errors
/// `TooFew` when a client would have no rows.
pub fn split_evenly(data: &Dataset, clients: usize, seed: u64) -> Result<Vec<Vec<u32>>, DataError> {
    let each = each(data, clients)?;
    let mut rows: Vec<u32> = (0..data.rows()).map(|row| row as u32).collect();
    Random::of(&[seed, clients as u64]).shuffle(&mut rows);
    Ok(rows.chunks_exact(each).take(clients).map(<[u32]>::to_vec).collect())
}

/// Sorts the rows by label, cuts them into shards, and deals `shards_each` random ones to each
/// client. This is the pathological non-IID split of FedAvg, where most clients have two classes
/// only (McMahan et al. 2017, section 3: 200 shards of 300 for 100 clients, two each).
///
/// # Errors
/// `TooFew` when a shard would be empty, `Misfit` when the targets are not classes.
pub fn split_by_label(
    data: &Dataset,
    clients: usize,
    shards_each: usize,
    seed: u64,
) -> Result<Vec<Vec<u32>>, DataError> {
    let Targets::Classes(labels) = data.targets() else {
        let problem = "sorting rows by label requires labels".to_owned();
        return Err(DataError::Misfit { data: data.name().to_owned(), problem });
    };
    let shards_each = shards_each.max(1);
    let size = each(data, clients.saturating_mul(shards_each))?;
    let mut rows: Vec<u32> = (0..data.rows()).map(|row| row as u32).collect();
    rows.sort_by_key(|row| labels[*row as usize]);
    let mut shards: Vec<&[u32]> = rows.chunks_exact(size).take(clients * shards_each).collect();
    Random::of(&[seed, clients as u64, shards_each as u64]).shuffle(&mut shards);
    Ok(shards.chunks_exact(shards_each).map(<[&[u32]]>::concat).collect())
}

/// Rows of each of `parts` equal parts.
fn each(data: &Dataset, parts: usize) -> Result<usize, DataError> {
    match data.rows().checked_div(parts) {
        Some(each) if each > 0 => Ok(each),
        _ => {
            let (name, rows) = (data.name().to_owned(), data.rows());
            let problem = format!("{parts} parts would leave some without data");
            Err(DataError::TooFew { data: name, rows, problem })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Inputs, Order};
    use super::*;
    use proptest::prelude::*;

    fn data(rows: usize) -> Dataset {
        let labels = (0..rows).map(|row| (row * 7 % 10) as u32).collect();
        Dataset::new("d", &[1], Inputs::Bytes(vec![0; rows]), Targets::Classes(labels)).unwrap()
    }

    proptest! {
        #[test]
        fn parts_are_disjoint_and_form_the_whole_batch(
            world in 1_usize..9, each in 0_usize..60, more in 0_usize..60, step in 0_u64..5,
        ) {
            let batch = world + each;
            let data = data(batch + more);
            let alone = Shard::of(&data, batch, 0, 1).unwrap();
            let order = Order { rows: data.rows(), seed: 3 }.of_epoch(0);
            let mut together = Vec::new();
            for rank in 0..world {
                let shard = Shard::of(&data, batch, rank, world).unwrap();
                prop_assert_eq!(shard.steps(), alone.steps());
                prop_assert!(!shard.range(step).is_empty());
                together.extend_from_slice(&order[shard.range(step)]);
            }
            prop_assert_eq!(&together[..], &order[alone.range(step)]);
        }

        #[test]
        fn clients_share_no_rows(rows in 20_usize..300, clients in 1_usize..10, shards in 1_usize..3) {
            let data = data(rows);
            for split in [split_evenly(&data, clients, 1), split_by_label(&data, clients, shards, 1)] {
                let split = split.unwrap();
                prop_assert_eq!(split.len(), clients);
                prop_assert!(split.iter().all(|rows| rows.len() == split[0].len() && !rows.is_empty()));
                let mut all = split.concat();
                let count = all.len();
                all.sort_unstable();
                all.dedup();
                prop_assert_eq!(all.len(), count);
                prop_assert!(all.iter().all(|row| (*row as usize) < rows));
            }
        }
    }

    #[test]
    fn sorted_shards_leave_clients_few_classes() {
        let data = data(60_000);
        let Targets::Classes(labels) = data.targets() else { panic!("labels are classes") };
        let kinds = |rows: &Vec<u32>| {
            let kinds: std::collections::BTreeSet<_> =
                rows.iter().map(|row| labels[*row as usize]).collect();
            kinds.len()
        };
        let split = split_by_label(&data, 100, 2, 5).unwrap();
        assert!(split.iter().all(|rows| rows.len() == 600 && kinds(rows) <= 2));
        let even = split_evenly(&data, 100, 5).unwrap();
        assert!(even.iter().all(|rows| rows.len() == 600 && kinds(rows) == 10));
        assert_ne!(split, split_by_label(&data, 100, 2, 6).unwrap());
    }

    #[test]
    fn divisions_that_leave_a_rank_without_data_are_rejected() {
        let message = |batch, world| Shard::of(&data(10), batch, 0, world).unwrap_err().to_string();
        let wanted = "d: 10 rows are too few: a batch of 12 leaves some of 12 ranks without data";
        assert_eq!(message(12, 12), wanted);
        assert!(message(3, 4).contains("a batch of 3 leaves some of 4 ranks"));
        assert!(message(0, 1).contains("without data"));
        assert!(message(12, 2).contains("a batch has 12"));
        assert!(split_evenly(&data(10), 11, 0).is_err() && split_evenly(&data(10), 0, 0).is_err());
        assert!(split_by_label(&data(10), 6, 2, 0).is_err());
    }
}
