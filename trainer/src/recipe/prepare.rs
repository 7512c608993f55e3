//! Preparation of a recipe: all its errors are found before training starts.

use super::{PrepareRecipe, Recipe, StrategyRecipe};
use crate::checkpoint::{Checkpoint, Store};
use crate::data::{DataError, Dataset, Shard, Split};
use crate::error::TrainError;
use crate::job::{Job, Mode, NetworkTask, Outcome, Settings, TrainObserver, TrainTask};
use crate::schedule::Schedule;
use crate::strategy::{DeepGradient, Downpour, FederatedAveraging, LocalSgd, Synchronous};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A recipe with its model and data loaded.
pub struct PreparedRecipe {
    /// The model to train.
    pub task: NetworkTask,
    /// Training data.
    pub train: Arc<Dataset>,
    /// Test data.
    pub test: Arc<Dataset>,
    /// Validation data of compression, if held out.
    pub validation: Option<Arc<Dataset>>,
    /// Learning rate at each step.
    pub schedule: Schedule,
    /// Settings of the job.
    pub settings: Settings,
    recipe: Recipe,
    epoch_steps: u64,
    /// Row indices of each client, with federated averaging.
    clients: Vec<Vec<u32>>,
}

/// Context of a run: everything a job needs besides its recipe.
pub struct RunContext<'a> {
    /// Receives progress.
    pub observer: &'a dyn TrainObserver,
    /// Store of checkpoints.
    pub store: Option<&'a Store>,
    /// Checkpoint to resume from.
    pub resume: Option<&'a Checkpoint>,
    /// Flag that stops training early.
    pub stop: &'a AtomicBool,
}

impl Recipe {
    /// Loads the model and the data, and checks that they fit each other and `world` ranks.
    ///
    /// # Errors
    /// Fails when the model or the data cannot be used, they do not fit each other, or a rank would
    /// have no data.
    pub fn prepare(&self, world: usize) -> Result<PreparedRecipe, TrainError> {
        let task = NetworkTask::new(self.model.model(&self.folder, self.seed)?)?;
        let Split { train, test } = self.data.load(&self.folder, self.prepare.hold_out)?;
        let scaling = self.prepare.scaling();
        let fitted = |data: Dataset| data.scaled(scaling).fit(task.model());
        let (train, test) = (fitted(train)?, fitted(test)?);
        let (train, validation) = self.prepare.split_validation(train)?;
        let clients = self.clients(&train)?;
        let epoch_steps = match &self.strategy {
            StrategyRecipe::Federated(_) => 1,
            _ => Shard::of(&train, self.batch, 0, world)?.steps(),
        };
        let by_epochs = self.epochs.map_or(u64::MAX, |epochs| epochs.saturating_mul(epoch_steps));
        let steps = by_epochs.min(self.steps.unwrap_or(u64::MAX));
        let settings = Settings {
            seed: self.seed,
            batch: self.batch,
            steps,
            checkpoint_steps: self.checkpoint_steps,
            shift: self.prepare.shift(),
            target_accuracy: self.target.accuracy.filter(|_| self.target.stop),
            recipe: self.fingerprint(),
            data: train.fingerprint(),
        };
        Ok(PreparedRecipe {
            task,
            schedule: self.schedule.schedule(epoch_steps, steps),
            train: Arc::new(train),
            test: Arc::new(test),
            validation: validation.map(Arc::new),
            settings,
            recipe: self.clone(),
            epoch_steps,
            clients,
        })
    }

    fn clients(&self, train: &Dataset) -> Result<Vec<Vec<u32>>, DataError> {
        match &self.strategy {
            StrategyRecipe::Federated(federated) => federated.clients(train, self.seed),
            _ => Ok(Vec::new()),
        }
    }
}

impl PrepareRecipe {
    /// Splits off the validation data.
    fn split_validation(&self, data: Dataset) -> Result<(Dataset, Option<Dataset>), DataError> {
        if self.validation == 0.0 {
            return Ok((data, None));
        }
        let Split { train, test } = data.hold_out(self.validation)?;
        Ok((train, Some(test)))
    }
}

impl PreparedRecipe {
    /// The recipe.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Calls `work` with the job of the recipe's own model.
    ///
    /// # Errors
    /// Returns the error of `work`.
    pub fn with_job<T>(
        &self,
        context: &RunContext<'_>,
        work: impl FnOnce(&Job<'_>) -> Result<T, TrainError>,
    ) -> Result<T, TrainError> {
        self.with_job_of(&self.task, context, work)
    }

    /// Calls `work` with a job that trains another task by this recipe.
    ///
    /// # Errors
    /// Returns the error of `work`.
    pub fn with_job_of<T>(
        &self,
        task: &dyn TrainTask,
        context: &RunContext<'_>,
        work: impl FnOnce(&Job<'_>) -> Result<T, TrainError>,
    ) -> Result<T, TrainError> {
        let sgd = self.recipe.optimizer.settings();
        let run = |mode: Mode<'_>| work(&self.job(task, context, &mode));
        match &self.recipe.strategy {
            StrategyRecipe::Synchronous(synchronous) => run(Mode::Steps(&|layout, collective| {
                let bytes = synchronous.bucket_bytes;
                Ok(Box::new(Synchronous::new(layout, collective, sgd, bytes)?))
            })),
            StrategyRecipe::DeepGradient(deep) => run(Mode::Steps(&|layout, collective| {
                let settings = deep.settings(sgd, self.epoch_steps);
                Ok(Box::new(DeepGradient::new(layout, collective, settings)?))
            })),
            StrategyRecipe::Downpour(downpour) => run(Mode::Steps(&|layout, collective| {
                Ok(Box::new(Downpour::new(layout, collective, downpour.settings())?))
            })),
            StrategyRecipe::Local(local) => run(Mode::Steps(&|layout, collective| {
                Ok(Box::new(LocalSgd::new(layout, collective, sgd, local.period)))
            })),
            StrategyRecipe::Federated(federated) => {
                let settings = federated.settings(sgd, self.recipe.batch, self.recipe.seed);
                run(Mode::Rounds {
                    make: &|layout, collective| {
                        Ok(FederatedAveraging::new(layout, collective, settings))
                    },
                    clients: &self.clients,
                })
            }
        }
    }

    fn job<'a>(
        &self,
        task: &'a dyn TrainTask,
        context: &RunContext<'a>,
        mode: &'a Mode<'a>,
    ) -> Job<'a> {
        Job {
            task,
            train: self.train.clone(),
            test: self.test.clone(),
            mode,
            schedule: self.schedule.clone(),
            settings: self.settings.clone(),
            observer: context.observer,
            store: context.store,
            resume: context.resume,
            stop: context.stop,
        }
    }

    /// Runs the job on `world` threads.
    ///
    /// # Errors
    /// Same as [`Job::check`] and [`Job::run`].
    pub fn run(&self, world: usize, context: &RunContext<'_>) -> Result<Outcome, TrainError> {
        self.with_job(context, |job| {
            job.check(self.task.layout(), world)?;
            let run = |_, collective| job.run(collective);
            let outcomes = crate::collective::threads(world, self.recipe.timeout(), run)?;
            let none = || TrainError::State("there are no ranks".to_owned());
            outcomes.into_iter().next().ok_or_else(none)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validation_rows_are_not_trained_on() {
        let text = "epochs = 1\nbatch = 8\nmodel.mlp = [784, 10]\n[data.digits]\ntrain = 40\n\
                    test = 10\n[schedule]\nrate = 0.1\n";
        let rows = |settings: &[String]| {
            let prepared = Recipe::parse(text, settings).unwrap().prepare(1).unwrap();
            let validation = prepared.validation.map(|data| data.rows());
            (prepared.train.rows(), validation, prepared.test.rows())
        };
        assert_eq!(rows(&[]), (40, None, 10));
        assert_eq!(rows(&["prepare.validation=0.25".to_owned()]), (30, Some(10), 10));
    }
}
