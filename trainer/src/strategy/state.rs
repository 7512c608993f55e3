//! What a strategy must remember to go on later, whatever the number of ranks then.

use crate::collective::{Collective, CollectiveError};
use crate::error::TrainError;
use std::collections::BTreeMap;

/// What a strategy must remember: numbers by their names.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct State {
    /// Whose it is.
    pub strategy: String,
    /// How many ranks there were.
    pub world: usize,
    /// Counters, such as steps.
    pub counters: BTreeMap<String, u64>,
    /// Slices as long as the parameters, such as velocities. What each rank had of its own is
    /// there once a rank, as `NAME/RANK`; only the sum over ranks counts.
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

    pub(super) fn slice_of_each_rank(mut self, name: &str, values: Vec<Vec<f32>>) -> Self {
        for (rank, values) in values.into_iter().enumerate() {
            self.slices.insert(format!("{name}/{rank}"), values);
        }
        self
    }

    pub(super) fn expect(&self, strategy: &str) -> Result<(), TrainError> {
        if self.strategy == strategy {
            return Ok(());
        }
        Err(TrainError::State(format!(
            "it is of the strategy '{}', and this is '{strategy}'",
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

    /// What a rank goes on with: its own, or, where the number of ranks is another, an equal
    /// share of the sum over the old ranks, so that nothing is lost or counted twice.
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
            return Err(TrainError::State(format!("it has no numbers '{name}'")));
        };
        if values.len() != len {
            let problem = format!("'{name}' has {} numbers, and the model has {len}", values.len());
            return Err(TrainError::State(problem));
        }
        Ok(values)
    }
}

/// Each rank's `mine` on rank 0, and nothing on the others.
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

/// Bytes as the numbers they are.
pub(super) fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_ne_bytes(*bytes)).collect()
}
