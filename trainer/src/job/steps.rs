//! The part of a rank in a training run by steps: batch by batch.

use super::progress::{FinishedStep, Progress};
use super::stop_consensus::StopConsensus;
use super::{Job, MakeStrategy, Outcome, at_step};
use crate::collective::Collective;
use crate::data::{Loader, Plan, Shard};
use crate::error::TrainError;
use crate::learner::Learner;
use crate::strategy::Strategy;
use std::sync::atomic::Ordering;

/// Mean loss of an epoch.
#[derive(Default)]
struct MeanLoss {
    sum: f64,
    count: u64,
}

impl MeanLoss {
    fn add(&mut self, loss: f32) {
        self.sum += f64::from(loss);
        self.count += 1;
    }

    fn take(&mut self) -> f32 {
        let mean = self.sum / self.count.max(1) as f64;
        *self = Self::default();
        mean as f32
    }
}

/// State of one rank during training.
struct Rank<'a> {
    job: &'a Job<'a>,
    group: Box<dyn Collective>,
    strategy: Box<dyn Strategy>,
    learner: Box<dyn Learner>,
    loader: Loader,
    progress: Progress,
    mean: MeanLoss,
}

pub(super) fn run(
    job: &Job<'_>,
    make: &MakeStrategy<'_>,
    mut collective: Box<dyn Collective>,
) -> Result<Outcome, TrainError> {
    let (rank, world) = (collective.rank(), collective.world());
    let shard = Shard::of(&job.train, job.settings.batch, rank, world)?;
    let mut progress = Progress::start(job, collective.as_mut())?;
    let group = collective.duplicate()?;
    let learner = job.task.learner()?;
    let mut strategy = make(learner.layout(), collective)?;
    if let Some(state) = progress.state.take() {
        strategy.restore(&state)?;
    }
    let plan = Plan { seed: job.settings.seed, shard, shift: job.settings.shift };
    let loader = Loader::start(job.train.clone(), plan, progress.position)?;
    let mean = MeanLoss::default();
    Rank { job, group, strategy, learner, loader, progress, mean }.run()
}

impl Rank<'_> {
    fn run(mut self) -> Result<Outcome, TrainError> {
        match self.steps() {
            Ok(stopped) => Ok(self.progress.outcome(stopped)),
            Err(error) => {
                self.strategy.abort();
                Err(error)
            }
        }
    }

    /// Runs the remaining steps. Returns true if they were stopped early.
    fn steps(&mut self) -> Result<bool, TrainError> {
        let mut consensus = StopConsensus::new();
        let (mut stop, mut due) = (false, false);
        while self.progress.steps < self.job.settings.steps {
            let rate = self.step()?;
            let is_last = self.progress.steps == self.job.settings.steps;
            let is_epoch = self.progress.position.step == 0;
            if is_epoch || is_last {
                self.measure(rate, is_epoch)?;
            }
            // Every rank votes at every step, so that all vote together.
            let wanted = self.job.stop.load(Ordering::Relaxed);
            stop = stop || consensus.vote(self.group.as_mut(), wanted)?;
            let every = self.job.settings.checkpoint_steps;
            due |= every.is_some_and(|every| self.progress.steps.is_multiple_of(every));
            // Local steps finish their period first: the time of averaging must not depend on
            // checkpoints.
            let is_time = (stop || due) && self.strategy.is_synchronized();
            if is_epoch || is_last || is_time {
                self.save()?;
                due = false;
            }
            if is_last || self.is_target_reached(is_epoch) {
                return Ok(false);
            }
            if stop && (is_epoch || is_time) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Trains on one batch; returns the learning rate.
    fn step(&mut self) -> Result<f32, TrainError> {
        let progress = &mut self.progress;
        let (steps, epoch) = (progress.steps, self.loader.position().epoch);
        let rate = self.job.schedule.rate(steps);
        let batch = self.loader.take()?;
        let learner = self.learner.as_mut();
        let report = self.strategy.step(learner, &mut progress.parameters, &batch, rate);
        let report = report.map_err(|error| at_step(error, steps, epoch))?;
        progress.position = self.loader.position();
        self.mean.add(report.loss);
        let (loss, bytes_sent, rows) = (report.loss, report.bytes_sent, self.job.settings.batch);
        let step = FinishedStep { epoch, loss, rate, bytes_sent, rows };
        progress.finish_step(self.job, self.group.rank(), &step)?;
        Ok(rate)
    }

    /// Measures the current parameters, on all ranks together.
    fn measure(&mut self, rate: f32, is_epoch: bool) -> Result<(), TrainError> {
        self.strategy.synchronize(&mut self.progress.parameters)?;
        let epoch = self.progress.position.epoch + u64::from(!is_epoch);
        let numbers = (epoch, rate, self.mean.take());
        let (learner, group) = (self.learner.as_mut(), self.group.as_mut());
        self.progress.measure(self.job, learner, group, numbers)?;
        Ok(())
    }

    /// Returns true if the last measurement reached the target accuracy.
    fn is_target_reached(&self, is_measured: bool) -> bool {
        let last = self.progress.history.last().and_then(|measured| measured.accuracy);
        is_measured && self.job.settings.is_target_reached(last)
    }

    /// Writes a checkpoint; called by all ranks together, as each holds a part of the state.
    fn save(&mut self) -> Result<(), TrainError> {
        // Synchronizes even without a store, so that training does not depend on one.
        self.strategy.synchronize(&mut self.progress.parameters)?;
        if self.job.store.is_none() {
            return Ok(());
        }
        let state = self.strategy.state()?;
        self.progress.save(self.job, state)
    }
}
