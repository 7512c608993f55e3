//! Local SGD: ranks step independently, and average their parameters periodically.

use crate::batch::Batch;
use crate::collective::{Collective, CollectiveError};
use crate::error::TrainError;
use crate::layout::Layout;
use crate::learner::Learner;
use crate::optimizer::{Sgd, SgdSettings};
use crate::strategy::state::gather;
use crate::strategy::{State, StepReport, Strategy};

const NAME: &str = "local";

/// Local SGD (Stich 2019, algorithm 1): each rank steps alone, and all continue from the mean of
/// their parameters after every `period` steps. Velocities stay with their ranks.
pub struct LocalSgd {
    collective: Box<dyn Collective>,
    sgd: Sgd,
    gradients: Vec<f32>,
    period: u64,
    /// Steps since the last averaging.
    local_steps: u64,
}

impl LocalSgd {
    /// Averages parameters after every `period` steps; 0 counts as 1.
    pub fn new(
        layout: &Layout,
        collective: Box<dyn Collective>,
        settings: SgdSettings,
        period: u64,
    ) -> Self {
        let sgd = Sgd::new(layout, settings);
        let gradients = vec![0.0; layout.len()];
        Self { collective, sgd, gradients, period: period.max(1), local_steps: 0 }
    }
}

/// Replaces the values by their mean over all ranks.
pub(super) fn average(
    collective: &mut dyn Collective,
    values: &mut [f32],
) -> Result<(), CollectiveError> {
    if collective.world() > 1 {
        let share = 1.0 / collective.world() as f32;
        values.iter_mut().for_each(|value| *value *= share);
        collective.all_reduce(values)?;
    }
    Ok(())
}

impl Strategy for LocalSgd {
    fn step(
        &mut self,
        learner: &mut dyn Learner,
        parameters: &mut [f32],
        batch: &Batch,
        rate: f32,
    ) -> Result<StepReport, TrainError> {
        let before = self.collective.bytes_sent();
        let loss = learner.gradients(parameters, batch, &mut self.gradients)?;
        self.sgd.step(parameters, &self.gradients, rate);
        self.local_steps += 1;
        if self.local_steps >= self.period {
            self.synchronize(parameters)?;
        }
        Ok(StepReport { loss, bytes_sent: self.collective.bytes_sent() - before })
    }

    fn is_synchronized(&self) -> bool {
        self.local_steps == 0
    }

    fn synchronize(&mut self, parameters: &mut [f32]) -> Result<(), TrainError> {
        if self.local_steps > 0 {
            average(self.collective.as_mut(), parameters)?;
            self.local_steps = 0;
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Option<State>, TrainError> {
        let velocities = gather(self.collective.as_mut(), self.sgd.velocity())?;
        let world = self.collective.world();
        let state = |velocities| State::new(NAME, world).slice_per_rank("velocity", velocities);
        Ok(velocities.map(state))
    }

    /// Restores a state; with another number of ranks each takes the mean velocity.
    fn restore(&mut self, state: &State) -> Result<(), TrainError> {
        state.check_strategy(NAME)?;
        let (rank, world) = (self.collective.rank(), self.collective.world());
        let velocity = self.sgd.velocity_mut();
        state.copy_share_to("velocity", rank, world, velocity)?;
        if world != state.world {
            // A rank's share of the sum, times new ranks, divided by old ranks, is the mean.
            let mean = world as f32 / state.world.max(1) as f32;
            velocity.iter_mut().for_each(|velocity| *velocity *= mean);
        }
        self.local_steps = 0;
        Ok(())
    }
}
