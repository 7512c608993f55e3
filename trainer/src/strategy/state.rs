//! State of a strategy in a checkpoint, independent of the number of ranks.

use crate::collective::{Collective, CollectiveError};
use crate::error::TrainError;
use std::collections::BTreeMap;

/// State of a strategy: named numbers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct State {
    /// Name of the strategy.
    pub strategy: String,
    /// Number of ranks.
    pub world: usize,
    /// Counters, such as steps.
    pub counters: BTreeMap<String, u64>,
    /// Slices as long as the parameters, such as velocities. Slices that differ by rank are stored
    /// once per rank, as `NAME/RANK`; only their sum over the ranks matters.
    pub slices: BTreeMap<String, Vec<f32>>,
}

impl State {
    pub(super) fn new(strategy: &str, world: usize) -> Self {
        Self { strategy: strategy.to_owned(), world, ..Self::default() }
    }

    pub(super) fn count(mut self, name: &str, value: u64) -> Self {
        self.counters.insert(name.to_owned(), value);
        self
    }

    pub(super) fn slice(mut self, name: &str, values: Vec<f32>) -> Self {
        self.slices.insert(name.to_owned(), values);
        self
    }

    pub(super) fn slice_per_rank(mut self, name: &str, values: Vec<Vec<f32>>) -> Self {
        for (rank, values) in values.into_iter().enumerate() {
            self.slices.insert(format!("{name}/{rank}"), values);
        }
        self
    }

    pub(super) fn check_strategy(&self, strategy: &str) -> Result<(), TrainError> {
        if self.strategy == strategy {
            return Ok(());
        }
        Err(TrainError::State(format!(
            "it belongs to the strategy '{}', but this job uses '{strategy}'",
            self.strategy
        )))
    }

    pub(super) fn counter(&self, name: &str) -> Result<u64, TrainError> {
        let missing = || TrainError::State(format!("it has no counter '{name}'"));
        self.counters.get(name).copied().ok_or_else(missing)
    }

    pub(super) fn copy_to(&self, name: &str, to: &mut [f32]) -> Result<(), TrainError> {
        to.copy_from_slice(self.checked(name, to.len())?);
        Ok(())
    }

    /// Copies a rank's slice. If the number of ranks has changed, each gets an equal share of the
    /// sum over the old ranks. Nothing is lost or counted twice.
    pub(super) fn copy_share_to(
        &self,
        name: &str,
        rank: usize,
        world: usize,
        to: &mut [f32],
    ) -> Result<(), TrainError> {
        if world == self.world {
            return self.copy_to(&format!("{name}/{rank}"), to);
        }
        to.fill(0.0);
        for old in 0..self.world {
            let values = self.checked(&format!("{name}/{old}"), to.len())?;
            to.iter_mut().zip(values).for_each(|(to, value)| *to += value);
        }
        let share = 1.0 / world as f32;
        to.iter_mut().for_each(|to| *to *= share);
        Ok(())
    }

    fn checked(&self, name: &str, len: usize) -> Result<&[f32], TrainError> {
        let Some(values) = self.slices.get(name) else {
            return Err(TrainError::State(format!("it has no slice '{name}'")));
        };
        if values.len() != len {
            let problem = format!("'{name}' has {} numbers, but the model has {len}", values.len());
            return Err(TrainError::State(problem));
        }
        Ok(values)
    }
}

/// Gathers the values of all ranks on rank 0; returns `None` on others.
pub(super) fn gather(
    collective: &mut dyn Collective,
    mine: &[f32],
) -> Result<Option<Vec<Vec<f32>>>, CollectiveError> {
    if collective.rank() != 0 {
        collective.send(0, bytemuck::cast_slice(mine))?;
        return Ok(None);
    }
    let mut all = vec![mine.to_vec()];
    for rank in 1..collective.world() {
        let bytes = collective.receive(rank)?;
        all.push(floats(&bytes));
    }
    Ok(Some(all))
}

/// Converts bytes to numbers.
pub(super) fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_ne_bytes(*bytes)).collect()
}
