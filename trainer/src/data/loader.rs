//! Batches, prepared in the background during training.

use super::augment::Shift;
use super::dataset::Dataset;
use super::error::DataError;
use super::order::Order;
use super::shard::Shard;
use crate::batch::Batch;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// Upper limit of batches prepared ahead.
const AHEAD: usize = 3;

/// Position of training in the data. With the seed it is the whole random state.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Position {
    /// Number of finished epochs.
    pub epoch: u64,
    /// Number of finished steps of this epoch.
    pub step: u64,
}

/// The batches that a rank loads.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Seed of shuffles and shifts, the same on all ranks.
    pub seed: u64,
    /// Part of each batch that belongs to this rank.
    pub shard: Shard,
    /// Random shift of images, if any.
    pub shift: Option<Shift>,
}

impl Plan {
    /// The position after another.
    pub fn next(&self, at: Position) -> Position {
        match at.step + 1 {
            step if step < self.shard.steps() => Position { step, ..at },
            _ => Position { epoch: at.epoch + 1, step: 0 },
        }
    }

    /// Loads this rank's part of the batch at a position, in the order of its epoch.
    fn batch(&self, data: &Dataset, order: &[u32], at: Position) -> Batch {
        let rows = &order[self.shard.range(at.step)];
        let mut batch = data.batch(rows);
        if let Some(shift) = &self.shift {
            shift.apply(&mut batch.input, rows, &[self.seed, at.epoch]);
        }
        batch
    }
}

/// Loads batches endlessly, and tracks the position.
#[derive(Debug)]
pub struct Loader {
    batches: Option<Receiver<Batch>>,
    thread: Option<JoinHandle<()>>,
    plan: Plan,
    position: Position,
}

impl Loader {
    /// Starts loading at a position.
    ///
    /// # Errors
    /// `Loader` when no thread can be started.
    pub fn start(data: Arc<Dataset>, plan: Plan, from: Position) -> Result<Self, DataError> {
        let (sender, receiver) = bounded(AHEAD);
        let planned = plan.clone();
        let thread = thread::Builder::new().name("load".to_owned());
        let thread = thread.spawn(move || load(&data, &planned, from, &sender));
        let thread = thread.map_err(|error| DataError::Loader(error.to_string()))?;
        Ok(Self { batches: Some(receiver), thread: Some(thread), plan, position: from })
    }

    /// Position of the next batch.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Returns this rank's part of the next batch.
    ///
    /// # Errors
    /// `Loader` when the thread has ended.
    pub fn take(&mut self) -> Result<Batch, DataError> {
        let batch = self.batches.as_ref().and_then(|batches| batches.recv().ok());
        let batch = batch.ok_or_else(|| DataError::Loader("it has panicked".to_owned()))?;
        self.position = self.plan.next(self.position);
        Ok(batch)
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        // The thread ends when its receiver is gone.
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            // A panic has been reported by the panic hook already.
            let _ = thread.join();
        }
    }
}

fn load(data: &Dataset, plan: &Plan, from: Position, batches: &Sender<Batch>) {
    let shuffle = Order { rows: data.rows(), seed: plan.seed };
    let mut at = from;
    let mut order = shuffle.of_epoch(at.epoch);
    while batches.send(plan.batch(data, &order, at)).is_ok() {
        let next = plan.next(at);
        if next.epoch != at.epoch {
            order = shuffle.of_epoch(next.epoch);
        }
        at = next;
    }
}

#[cfg(test)]
mod tests {
    use super::super::Inputs;
    use super::*;
    use crate::batch::{Targets, Values};

    fn data(rows: usize) -> Arc<Dataset> {
        let inputs = Inputs::Float32((0..rows).map(|row| row as f32).collect());
        let classes = Targets::Classes(vec![0; rows]);
        Arc::new(Dataset::new("d", &[1], inputs, classes).unwrap())
    }

    fn plan(data: &Dataset, batch: usize, rank: usize, world: usize) -> Plan {
        Plan { seed: 9, shard: Shard::of(data, batch, rank, world).unwrap(), shift: None }
    }

    fn rows(loader: &mut Loader) -> Vec<usize> {
        let Values::Float32(values) = loader.take().unwrap().input.values else { panic!() };
        values.into_iter().map(|value| value as usize).collect()
    }

    #[test]
    fn an_epoch_visits_each_row_at_most_once_over_all_ranks() {
        let data = data(10);
        let mut seen = Vec::new();
        for rank in 0..2 {
            let start = Position::default();
            let mut loader = Loader::start(data.clone(), plan(&data, 4, rank, 2), start).unwrap();
            for _ in 0..2 {
                seen.extend(rows(&mut loader));
            }
            assert_eq!(loader.position(), Position { epoch: 1, step: 0 });
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 8);
    }

    #[test]
    fn a_loader_continues_at_the_position_of_another() {
        let data = data(10);
        let mut whole =
            Loader::start(data.clone(), plan(&data, 3, 0, 1), Position::default()).unwrap();
        for _ in 0..4 {
            whole.take().unwrap();
        }
        let from = whole.position();
        assert_eq!(from, Position { epoch: 1, step: 1 });
        let mut rest = Loader::start(data.clone(), plan(&data, 3, 0, 1), from).unwrap();
        for _ in 0..5 {
            assert_eq!(whole.take().unwrap(), rest.take().unwrap());
        }
    }

    #[test]
    fn a_loader_stops_ahead_and_ends_with_its_owner() {
        let data = data(4);
        let loader = Loader::start(data.clone(), plan(&data, 2, 0, 1), Position::default());
        let loader = loader.unwrap();
        // The thread blocks once it is ahead, and ends with the loader; otherwise this would hang.
        drop(loader);
        assert_eq!(Arc::strong_count(&data), 1);
    }
}
