//! Compression as a recipe says it, on so many ranks.

use super::{Compressed, CompressionError, Done, Phase, Witness, compress};
use crate::checkpoint::Measured;
use crate::collective::threads;
use crate::data::Dataset;
use crate::error::TrainError;
use crate::job::{Job, NetworkTrainee, Outcome, StepNews, Trainee, Watcher, evaluate};
use crate::recipe::{CompressRecipe, Prepared, RecipeError, Surroundings};
use skysail_graph::Model;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Tells of the steps of all parts that train.
struct Told<'a>(&'a dyn Witness);

impl Watcher for Told<'_> {
    fn step(&self, step: &StepNews) -> Result<(), TrainError> {
        self.0.step(step);
        Ok(())
    }

    fn measured(&self, _: &Measured) -> Result<(), TrainError> {
        Ok(())
    }
}

impl Prepared {
    /// Compresses the recipe's model, trained, on so many threads. The work goes by the examples
    /// that are kept out of learning, where there are any; whether the accuracy held, the test says.
    ///
    /// # Errors
    /// When the recipe does not say how, more accuracy is lost than it allows, and as [`compress`].
    pub fn compress(
        &self,
        model: &Model,
        world: usize,
        stop: &AtomicBool,
        witness: &dyn Witness,
    ) -> Result<Compressed, CompressionError> {
        let recipe = self.recipe().compress.as_ref();
        let none = || RecipeError("the recipe has no part `compress` that says how".to_owned());
        let recipe = recipe.ok_or_else(none).map_err(TrainError::from)?;
        let going_by = self.validation.as_ref().unwrap_or(&self.test);
        let ranks = (world, self.recipe().deadline());
        let told = Told(witness);
        let around = Surroundings { watcher: &told, store: None, resume: None, stop };
        let mut train = |phase: Phase, trainee: &dyn Trainee| {
            self.with_job_of(trainee, &around, |job| {
                let job = of_phase(job, going_by, recipe, phase, world)?;
                witness.begins(phase, job.settings.steps);
                run(&job, ranks)
            })
        };
        let mut tell = |done: &Done| witness.done(done);
        let before = accuracy(model, going_by)?;
        let settings = recipe.settings();
        let mut compressed = compress(model, before, &settings, &mut train, &mut tell)?;
        let [before, after] = [model, &compressed.model].map(|model| accuracy(model, &self.test));
        let (before, accuracy) = (before?, after?);
        let wanted = before - settings.loss_max;
        if accuracy < wanted {
            return Err(CompressionError::Lost { accuracy, wanted });
        }
        compressed.accuracy = [before, accuracy];
        Ok(compressed)
    }
}

/// The share of the data that a model classifies right.
fn accuracy(model: &Model, data: &Dataset) -> Result<f32, CompressionError> {
    let trainee = NetworkTrainee::new(model.clone())?;
    let mut learner = trainee.learner()?;
    let probabilities = trainee.gives_probabilities();
    let found = evaluate(learner.as_mut(), &trainee.start(), data, probabilities)?;
    found.accuracy.ok_or(CompressionError::NoAccuracy)
}

/// One phase, as a job of its own, that is measured on `data`.
fn of_phase<'a>(
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
    settings.seed = settings.seed.wrapping_add(order(phase));
    settings.enough = None;
    settings.checkpoint_steps = None;
    Ok(Job {
        trainee: job.trainee,
        train: job.train.clone(),
        test: data.clone(),
        work: job.work,
        schedule: phase_recipe.schedule(epoch_steps),
        settings,
        watcher: job.watcher,
        store: None,
        resume: None,
        stop: job.stop,
    })
}

/// Each phase sees the data in an order of its own.
fn order(phase: Phase) -> u64 {
    let (kind, number) = match phase {
        Phase::Retrain { round, .. } => (0, round),
        Phase::Settle { attempt } => (1, attempt),
        Phase::FineTune { attempt } => (2, attempt),
    };
    (kind << 32) + u64::from(number)
}

fn run(job: &Job<'_>, (world, deadline): (usize, Duration)) -> Result<Outcome, TrainError> {
    job.check(job.trainee.layout(), world)?;
    let outcomes = threads(world, deadline, |_, collective| job.run(collective))?;
    let none = || TrainError::State("there are no ranks".to_owned());
    outcomes.into_iter().next().ok_or_else(none)
}
