//! Compression by a recipe, on several ranks.

use super::{
    CompressObserver, CompressedModel, CompressionError, CompressionStep, Phase, compress,
};
use crate::checkpoint::Measurement;
use crate::collective::threads;
use crate::data::Dataset;
use crate::error::TrainError;
use crate::job::{Job, NetworkTask, Outcome, StepEvent, TrainObserver, TrainTask, evaluate};
use crate::recipe::{CompressRecipe, PreparedRecipe, RecipeError, RunContext};
use skysail_graph::Model;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Forwards training steps to the observer of compression.
struct StepForwarder<'a>(&'a dyn CompressObserver);

impl TrainObserver for StepForwarder<'_> {
    fn step(&self, step: &StepEvent) -> Result<(), TrainError> {
        self.0.step(step);
        Ok(())
    }

    fn measured(&self, _: &Measurement) -> Result<(), TrainError> {
        Ok(())
    }
}

impl PreparedRecipe {
    /// Compresses the recipe's trained model on `world` threads. Validation data, if held out,
    /// guides the compression; the final accuracy is that on the test data.
    ///
    /// # Errors
    /// Fails when the recipe has no section `[compress]`, when more accuracy is lost than allowed,
    /// or like [`compress`].
    pub fn compress(
        &self,
        model: &Model,
        world: usize,
        stop: &AtomicBool,
        observer: &dyn CompressObserver,
    ) -> Result<CompressedModel, CompressionError> {
        let recipe = self.recipe().compress.as_ref();
        let none = || RecipeError("the recipe has no section [compress]".to_owned());
        let recipe = recipe.ok_or_else(none).map_err(TrainError::from)?;
        let validation = self.validation.as_ref().unwrap_or(&self.test);
        let ranks = (world, self.recipe().timeout());
        let forwarder = StepForwarder(observer);
        let context = RunContext { observer: &forwarder, store: None, resume: None, stop };
        let mut train = |phase: Phase, task: &dyn TrainTask| {
            self.with_job_of(task, &context, |job| {
                let job = phase_job(job, validation, recipe, phase, world)?;
                observer.phase_started(phase, job.settings.steps);
                run(&job, ranks)
            })
        };
        let mut on_step = |step: &CompressionStep| observer.step_done(step);
        let before = accuracy(model, validation)?;
        let settings = recipe.settings();
        let mut compressed = compress(model, before, &settings, &mut train, &mut on_step)?;
        let [before, after] = [model, &compressed.model].map(|model| accuracy(model, &self.test));
        let (before, accuracy) = (before?, after?);
        let wanted = before - settings.loss_max;
        if accuracy < wanted {
            return Err(CompressionError::AccuracyLost { accuracy, wanted });
        }
        compressed.accuracy = [before, accuracy];
        Ok(compressed)
    }
}

/// Accuracy of a model on the data.
fn accuracy(model: &Model, data: &Dataset) -> Result<f32, CompressionError> {
    let task = NetworkTask::new(model.clone())?;
    let mut learner = task.learner()?;
    let probabilities = task.outputs_probabilities();
    let found = evaluate(learner.as_mut(), &task.initial_parameters(), data, probabilities)?;
    found.accuracy.ok_or(CompressionError::NoAccuracy)
}

/// The job of one phase, measured on `data`.
fn phase_job<'a>(
    job: &Job<'a>,
    data: &Arc<Dataset>,
    recipe: &CompressRecipe,
    phase: Phase,
    world: usize,
) -> Result<Job<'a>, TrainError> {
    let epoch_steps = job.epoch_steps(world)?;
    let phase_recipe = recipe.phase(phase);
    let mut settings = job.settings.clone();
    settings.steps = phase_recipe.steps(epoch_steps);
    settings.seed = settings.seed.wrapping_add(seed_offset(phase));
    settings.target_accuracy = None;
    settings.checkpoint_steps = None;
    Ok(Job {
        task: job.task,
        train: job.train.clone(),
        test: data.clone(),
        mode: job.mode,
        schedule: phase_recipe.schedule(epoch_steps),
        settings,
        observer: job.observer,
        store: None,
        resume: None,
        stop: job.stop,
    })
}

/// Offset of a phase's seed, so that each sees the data in another order.
fn seed_offset(phase: Phase) -> u64 {
    let (kind, number) = match phase {
        Phase::Retrain { round, .. } => (0, round),
        Phase::Settle { attempt } => (1, attempt),
        Phase::FineTune { attempt } => (2, attempt),
    };
    (kind << 32) + u64::from(number)
}

fn run(job: &Job<'_>, (world, timeout): (usize, Duration)) -> Result<Outcome, TrainError> {
    job.check(job.task.layout(), world)?;
    let outcomes = threads(world, timeout, |_, collective| job.run(collective))?;
    let none = || TrainError::State("there are no ranks".to_owned());
    outcomes.into_iter().next().ok_or_else(none)
}
