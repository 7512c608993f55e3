//! Progress of a training run, the same in both modes.

use super::evaluate::evaluate_on_ranks;
use super::{Job, Outcome, StepEvent, at_step};
use crate::checkpoint::{Checkpoint, CheckpointInfo, Measurement};
use crate::collective::Collective;
use crate::data::Position;
use crate::error::TrainError;
use crate::learner::Learner;
use crate::strategy::State;

/// Progress of a training run.
pub(super) struct Progress {
    pub(super) parameters: Vec<f32>,
    pub(super) steps: u64,
    pub(super) position: Position,
    pub(super) bytes_sent: u64,
    pub(super) history: Vec<Measurement>,
    /// State of the strategy, in a resumed run.
    pub(super) state: Option<State>,
}

/// A finished step or round.
pub(super) struct FinishedStep {
    /// Epoch or round, from 0.
    pub(super) epoch: u64,
    /// Mean training loss.
    pub(super) loss: f32,
    /// Learning rate.
    pub(super) rate: f32,
    /// Bytes sent in the step.
    pub(super) bytes_sent: u64,
    /// Training rows, over all ranks.
    pub(super) rows: usize,
}

impl Progress {
    /// Starts at the checkpoint of rank 0, or at the initial parameters; the same on all ranks.
    pub(super) fn start(job: &Job<'_>, group: &mut dyn Collective) -> Result<Self, TrainError> {
        let mut bytes = match job.resume {
            Some(checkpoint) if group.rank() == 0 => checkpoint.to_bytes()?,
            _ => Vec::new(),
        };
        if group.world() > 1 {
            group.broadcast(0, &mut bytes)?;
        }
        if !bytes.is_empty() {
            let checkpoint = Checkpoint::from_bytes(&bytes)?;
            let CheckpointInfo { steps, position, bytes_sent, history, .. } = checkpoint.info;
            let (parameters, state) = (checkpoint.parameters, Some(checkpoint.state));
            return Ok(Self { parameters, steps, position, bytes_sent, history, state });
        }
        // Model files may differ between machines; parameters must not.
        let mut initial = bytemuck::cast_slice(&job.task.initial_parameters()).to_vec();
        if group.world() > 1 {
            group.broadcast(0, &mut initial)?;
        }
        let parameters = bytemuck::pod_collect_to_vec(&initial);
        let (position, history) = (Position::default(), Vec::new());
        Ok(Self { parameters, steps: 0, position, bytes_sent: 0, history, state: None })
    }

    /// Counts a finished step; rank 0 reports it.
    pub(super) fn finish_step(
        &mut self,
        job: &Job<'_>,
        rank: usize,
        step: &FinishedStep,
    ) -> Result<(), TrainError> {
        self.steps += 1;
        self.bytes_sent += step.bytes_sent;
        if rank > 0 {
            return Ok(());
        }
        let FinishedStep { epoch, loss, rate, rows, .. } = *step;
        let (steps, bytes_sent) = (self.steps, self.bytes_sent);
        job.observer.step(&StepEvent { steps, epoch, loss, rate, bytes_sent, rows })
    }

    /// Measures the parameters on the test data, on all ranks together; rank 0 reports it.
    /// `epoch` counts finished epochs or rounds. Returns the accuracy.
    pub(super) fn measure(
        &mut self,
        job: &Job<'_>,
        learner: &mut dyn Learner,
        group: &mut dyn Collective,
        (epoch, rate, train_loss): (u64, f32, f32),
    ) -> Result<Option<f32>, TrainError> {
        let probabilities = job.task.outputs_probabilities();
        let found = evaluate_on_ranks(learner, &self.parameters, &job.test, probabilities, group);
        let found = found.map_err(|error| at_step(error, self.steps, self.position.epoch))?;
        let measurement = Measurement {
            epoch,
            steps: self.steps,
            rate,
            train_loss,
            test_loss: found.loss,
            accuracy: found.accuracy,
            bytes_sent: self.bytes_sent,
        };
        self.history.push(measurement);
        if group.rank() == 0 {
            job.observer.measured(&measurement)?;
        }
        Ok(found.accuracy)
    }

    /// Writes a checkpoint on rank 0, which holds the state.
    pub(super) fn save(&self, job: &Job<'_>, state: Option<State>) -> Result<(), TrainError> {
        let (Some(store), Some(state)) = (job.store, state) else { return Ok(()) };
        // Non-finite parameters are useless, and would replace a good checkpoint.
        if let Some(value) = self.parameters.iter().find(|value| !value.is_finite()) {
            let what = "a parameter".to_owned();
            return Err(TrainError::NotFinite { what, value: *value });
        }
        let info = CheckpointInfo {
            recipe: job.settings.recipe.clone(),
            data: job.settings.data.clone(),
            layout: CheckpointInfo::parameters(job.task.layout()),
            steps: self.steps,
            position: self.position,
            seed: job.settings.seed,
            bytes_sent: self.bytes_sent,
            history: self.history.clone(),
        };
        store.save(&Checkpoint { info, parameters: self.parameters.clone(), state })?;
        Ok(())
    }

    pub(super) fn outcome(self, stopped: bool) -> Outcome {
        let Self { parameters, history, steps, .. } = self;
        Outcome { parameters, history, steps, stopped }
    }
}
