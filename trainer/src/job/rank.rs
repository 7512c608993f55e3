//! One rank's part of a training that goes batch by batch.

use super::evaluate::evaluate_together;
use super::pulse::Pulse;
use super::{Job, MakeStrategy, Outcome, StepNews, at_step};
use crate::checkpoint::{About, Checkpoint, Measured};
use crate::collective::Collective;
use crate::data::{Loader, Plan, Position, Shard};
use crate::error::TrainError;
use crate::learner::Learner;
use crate::strategy::{State, Strategy};
use std::sync::atomic::Ordering;

/// How far a training is.
pub(super) struct Progress {
    pub(super) parameters: Vec<f32>,
    pub(super) steps: u64,
    pub(super) position: Position,
    pub(super) bytes_sent: u64,
    pub(super) history: Vec<Measured>,
    /// The strategy's state, of a training that goes on.
    pub(super) state: Option<State>,
}

impl Progress {
    /// That of rank 0, on all ranks: where a checkpoint is, or at the beginning.
    pub(super) fn begin(job: &Job<'_>, group: &mut dyn Collective) -> Result<Self, TrainError> {
        let mut bytes = match job.resume {
            Some(checkpoint) if group.rank() == 0 => checkpoint.to_bytes()?,
            _ => Vec::new(),
        };
        if group.world() > 1 {
            group.broadcast(0, &mut bytes)?;
        }
        if !bytes.is_empty() {
            let checkpoint = Checkpoint::from_bytes(&bytes)?;
            let About { steps, position, bytes_sent, history, .. } = checkpoint.about;
            let (parameters, state) = (checkpoint.parameters, Some(checkpoint.state));
            return Ok(Self { parameters, steps, position, bytes_sent, history, state });
        }
        // A model's file may differ from machine to machine; training must not.
        let mut start = bytemuck::cast_slice(&job.trainee.start()).to_vec();
        if group.world() > 1 {
            group.broadcast(0, &mut start)?;
        }
        let parameters = bytemuck::pod_collect_to_vec(&start);
        let (position, history) = (Position::default(), Vec::new());
        Ok(Self { parameters, steps: 0, position, bytes_sent: 0, history, state: None })
    }

    /// Writes a checkpoint where this is rank 0, which has the state.
    pub(super) fn save(&self, job: &Job<'_>, state: Option<State>) -> Result<(), TrainError> {
        let (Some(store), Some(state)) = (job.store, state) else { return Ok(()) };
        // Nobody could go on from these, and they would take the place of some that are sound.
        if let Some(value) = self.parameters.iter().find(|value| !value.is_finite()) {
            let what = "a parameter".to_owned();
            return Err(TrainError::NotFinite { what, value: *value });
        }
        let about = About {
            recipe: job.settings.recipe.clone(),
            data: job.settings.data.clone(),
            layout: About::parameters(job.trainee.layout()),
            steps: self.steps,
            position: self.position,
            seed: job.settings.seed,
            bytes_sent: self.bytes_sent,
            history: self.history.clone(),
        };
        store.save(&Checkpoint { about, parameters: self.parameters.clone(), state })?;
        Ok(())
    }

    pub(super) fn outcome(self, stopped: bool) -> Outcome {
        let Self { parameters, history, steps, .. } = self;
        Outcome { parameters, history, steps, stopped }
    }
}

/// The mean of the losses of an epoch.
#[derive(Default)]
struct Mean {
    sum: f64,
    count: u64,
}

impl Mean {
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

/// One rank, at work.
struct Rank<'a> {
    job: &'a Job<'a>,
    group: Box<dyn Collective>,
    strategy: Box<dyn Strategy>,
    learner: Box<dyn Learner>,
    loader: Loader,
    progress: Progress,
    mean: Mean,
}

pub(super) fn run(
    job: &Job<'_>,
    make: &MakeStrategy<'_>,
    mut collective: Box<dyn Collective>,
) -> Result<Outcome, TrainError> {
    let (rank, world) = (collective.rank(), collective.world());
    let shard = Shard::of(&job.train, job.settings.batch, rank, world)?;
    let mut progress = Progress::begin(job, collective.as_mut())?;
    let group = collective.duplicate()?;
    let learner = job.trainee.learner()?;
    let mut strategy = make(learner.layout(), collective)?;
    if let Some(state) = progress.state.take() {
        strategy.restore(&state)?;
    }
    let plan = Plan { seed: job.settings.seed, shard, shift: job.settings.shift };
    let loader = Loader::start(job.train.clone(), plan, progress.position)?;
    let mean = Mean::default();
    Rank { job, group, strategy, learner, loader, progress, mean }.work()
}

impl Rank<'_> {
    fn work(mut self) -> Result<Outcome, TrainError> {
        match self.steps() {
            Ok(stopped) => Ok(self.progress.outcome(stopped)),
            Err(error) => {
                self.strategy.abandon();
                Err(error)
            }
        }
    }

    /// All steps that are left; whether somebody stopped them.
    fn steps(&mut self) -> Result<bool, TrainError> {
        let mut pulse = Pulse::new();
        let (mut stop, mut due) = (false, false);
        while self.progress.steps < self.job.settings.steps {
            let rate = self.step()?;
            let is_last = self.progress.steps == self.job.settings.steps;
            let is_epoch = self.progress.position.step == 0;
            if is_epoch || is_last {
                self.measure(rate, is_epoch)?;
            }
            // Asked at every step alike, so that all ranks ask together.
            let wanted = self.job.stop.load(Ordering::Relaxed);
            stop = stop || pulse.beat(self.group.as_mut(), wanted)?;
            let every = self.job.settings.checkpoint_steps;
            due |= every.is_some_and(|every| self.progress.steps.is_multiple_of(every));
            // Ranks that are apart are let meet first: when they do must not depend on this.
            let is_time = (stop || due) && self.strategy.is_together();
            if is_epoch || is_last || is_time {
                self.save()?;
                due = false;
            }
            if is_last || self.is_enough(is_epoch) {
                return Ok(false);
            }
            if stop && (is_epoch || is_time) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Learns from one batch; gives its rate.
    fn step(&mut self) -> Result<f32, TrainError> {
        let progress = &mut self.progress;
        let (steps, epoch) = (progress.steps, self.loader.position().epoch);
        let rate = self.job.schedule.rate(steps);
        let batch = self.loader.take()?;
        let learner = self.learner.as_mut();
        let report = self.strategy.step(learner, &mut progress.parameters, &batch, rate);
        let report = report.map_err(|error| at_step(error, steps, epoch))?;
        progress.steps += 1;
        progress.position = self.loader.position();
        progress.bytes_sent += report.bytes_sent;
        self.mean.add(report.loss);
        if self.group.rank() == 0 {
            let (loss, bytes_sent) = (report.loss, progress.bytes_sent);
            let (steps, rows) = (progress.steps, self.job.settings.batch);
            self.job.watcher.step(&StepNews { steps, epoch, loss, rate, bytes_sent, rows })?;
        }
        Ok(rate)
    }

    /// Measures what was learned so far; all ranks together.
    fn measure(&mut self, rate: f32, is_epoch: bool) -> Result<(), TrainError> {
        self.strategy.agree(&mut self.progress.parameters)?;
        let (job, progress) = (self.job, &mut self.progress);
        let found = evaluate_together(
            self.learner.as_mut(),
            &progress.parameters,
            &job.test,
            job.trainee.gives_probabilities(),
            self.group.as_mut(),
        );
        let (epoch, steps) = (progress.position.epoch, progress.steps);
        let found = found.map_err(|error| at_step(error, steps, epoch))?;
        let measured = Measured {
            epoch: progress.position.epoch + u64::from(!is_epoch),
            steps: progress.steps,
            rate,
            train_loss: self.mean.take(),
            test_loss: found.loss,
            accuracy: found.accuracy,
            bytes_sent: progress.bytes_sent,
        };
        progress.history.push(measured);
        if self.group.rank() == 0 {
            job.watcher.measured(&measured)?;
        }
        Ok(())
    }

    /// Whether what was just measured is good enough to end.
    fn is_enough(&self, is_measured: bool) -> bool {
        let last = self.progress.history.last().and_then(|measured| measured.accuracy);
        let wanted = self.job.settings.enough.filter(|_| is_measured);
        wanted.zip(last).is_some_and(|(wanted, found)| found >= wanted)
    }

    /// Writes a checkpoint; all ranks together, as each has a part of the state.
    fn save(&mut self) -> Result<(), TrainError> {
        // Whether or not it is written, so that what is learned does not depend on that.
        self.strategy.agree(&mut self.progress.parameters)?;
        if self.job.store.is_none() {
            return Ok(());
        }
        let state = self.strategy.state()?;
        self.progress.save(self.job, state)
    }
}
