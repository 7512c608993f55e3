//! Compression as a recipe says it, on so many ranks.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use skysail_graph::Model;

use super::{Compressed, CompressionError, Phase, Tell, compress};
use crate::checkpoint::Measured;
use crate::collective::threads;
use crate::error::TrainError;
use crate::job::{Job, Outcome, StepNews, Trainee, Watcher, evaluate};
use crate::recipe::{CompressRecipe, Prepared, RecipeError, Surroundings};

/// Nobody is told of single steps: there are too many, of too many parts.
struct Quiet;

impl Watcher for Quiet {
    fn step(&self, _: &StepNews) -> Result<(), TrainError> {
        Ok(())
    }

    fn measured(&self, _: &Measured) -> Result<(), TrainError> {
        Ok(())
    }
}

impl Prepared {
    /// Compresses the recipe's model, trained, on so many threads.
    ///
    /// # Errors
    /// When the recipe does not say how, and as [`compress`].
    pub fn compress(
        &self,
        model: &Model,
        world: usize,
        stop: &AtomicBool,
        tell: &mut Tell<'_>,
    ) -> Result<Compressed, CompressionError> {
        let recipe = self.recipe().compress.as_ref();
        let none = || RecipeError("the recipe has no part `compress` that says how".to_owned());
        let recipe = recipe.ok_or_else(none).map_err(TrainError::from)?;
        let trainee = crate::job::NetworkTrainee::new(model.clone())?;
        let mut learner = trainee.learner()?;
        let probabilities = trainee.gives_probabilities();
        let before = evaluate(learner.as_mut(), &trainee.start(), &self.test, probabilities)?;
        let before = before.accuracy.ok_or(CompressionError::NoAccuracy)?;
        let ranks = (world, self.recipe().deadline());
        let around = Surroundings { watcher: &Quiet, store: None, resume: None, stop };
        let mut train = |phase: Phase, trainee: &dyn Trainee| {
            self.with_job_of(trainee, &around, |job| run(job, recipe, phase, ranks))
        };
        compress(model, before, &recipe.settings(), &mut train, tell)
    }
}

/// One phase, as a job of its own.
fn run(
    job: &Job<'_>,
    recipe: &CompressRecipe,
    phase: Phase,
    (world, deadline): (usize, Duration),
) -> Result<Outcome, TrainError> {
    let epoch_steps = job.epoch_steps(world)?;
    let phase_recipe = recipe.phase(phase);
    let mut settings = job.settings.clone();
    settings.steps = phase_recipe.steps(epoch_steps);
    // Each phase sees the data in an order of its own.
    settings.seed = settings.seed.wrapping_add(match phase {
        Phase::Retrain { round, .. } => u64::from(round),
        Phase::Settle => 1 << 32,
        Phase::FineTune => 2 << 32,
    });
    settings.enough = None;
    settings.checkpoint_steps = None;
    let job = Job {
        trainee: job.trainee,
        train: job.train.clone(),
        test: job.test.clone(),
        work: job.work,
        schedule: phase_recipe.schedule(epoch_steps),
        settings,
        watcher: job.watcher,
        store: None,
        resume: None,
        stop: job.stop,
    };
    job.check(job.trainee.layout(), world)?;
    let outcomes = threads(world, deadline, |_, collective| job.run(collective))?;
    let none = || TrainError::State("there are no ranks".to_owned());
    outcomes.into_iter().next().ok_or_else(none)
}
