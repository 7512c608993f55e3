//! A recipe, made ready: everything that can be wrong with it is found before work starts.

use super::{PrepareRecipe, Recipe, StrategyRecipe};
use crate::checkpoint::{Checkpoint, Store};
use crate::data::{DataError, Dataset, Shard, Split};
use crate::error::TrainError;
use crate::job::{Job, NetworkTrainee, Outcome, Settings, Trainee, Watcher, Work};
use crate::schedule::Schedule;
use crate::strategy::{DeepGradient, Downpour, FederatedAveraging, LocalSgd, Synchronous};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A recipe, made ready.
pub struct Prepared {
    /// What is trained.
    pub trainee: NetworkTrainee,
    /// What with.
    pub train: Arc<Dataset>,
    /// What is measured with.
    pub test: Arc<Dataset>,
    /// What compression goes by, if that is kept apart.
    pub validation: Option<Arc<Dataset>>,
    /// The learning rate.
    pub schedule: Schedule,
    /// The rest of what a job is told.
    pub settings: Settings,
    recipe: Recipe,
    epoch_steps: u64,
    /// Of federated averaging: the rows of each client.
    clients: Vec<Vec<u32>>,
}

/// What a job has besides its recipe.
pub struct Surroundings<'a> {
    /// Who is told how it goes.
    pub watcher: &'a dyn Watcher,
    /// Where checkpoints go.
    pub store: Option<&'a Store>,
    /// What to go on from.
    pub resume: Option<&'a Checkpoint>,
    /// Set when it is to stop.
    pub stop: &'a AtomicBool,
}

impl Recipe {
    /// Loads the model and the data, and sees that they fit each other and so many ranks.
    ///
    /// # Errors
    /// When the model or the data can not be used, they do not fit each other, or a rank would be
    /// without data.
    pub fn prepare(&self, world: usize) -> Result<Prepared, TrainError> {
        let trainee = NetworkTrainee::new(self.model.model(&self.folder, self.seed)?)?;
        let Split { train, test } = self.data.load(&self.folder, self.prepare.hold_out)?;
        let scaling = self.prepare.scaling();
        let fitted = |data: Dataset| data.scaled(scaling).fit(trainee.model());
        let (train, test) = (fitted(train)?, fitted(test)?);
        let (train, validation) = self.prepare.kept_apart(train)?;
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
            enough: self.target.accuracy.filter(|_| self.target.stop),
            recipe: self.fingerprint(),
            data: train.fingerprint(),
        };
        Ok(Prepared {
            trainee,
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
    /// What is learned from, and what is kept out of that.
    fn kept_apart(&self, data: Dataset) -> Result<(Dataset, Option<Dataset>), DataError> {
        if self.validation == 0.0 {
            return Ok((data, None));
        }
        let Split { train, test } = data.held_out(self.validation)?;
        Ok((train, Some(test)))
    }
}

impl Prepared {
    /// The recipe.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Gives `work` the job of this recipe's own model.
    ///
    /// # Errors
    /// What `work` says.
    pub fn with_job<T>(
        &self,
        around: &Surroundings<'_>,
        work: impl FnOnce(&Job<'_>) -> Result<T, TrainError>,
    ) -> Result<T, TrainError> {
        self.with_job_of(&self.trainee, around, work)
    }

    /// Gives `work` a job that trains something else with this recipe.
    ///
    /// # Errors
    /// What `work` says.
    pub fn with_job_of<T>(
        &self,
        trainee: &dyn Trainee,
        around: &Surroundings<'_>,
        work: impl FnOnce(&Job<'_>) -> Result<T, TrainError>,
    ) -> Result<T, TrainError> {
        let sgd = self.recipe.optimizer.settings();
        let each = |kind: Work<'_>| work(&self.job(trainee, around, &kind));
        match &self.recipe.strategy {
            StrategyRecipe::Synchronous(synchronous) => each(Work::Steps(&|layout, collective| {
                let bytes = synchronous.bucket_bytes;
                Ok(Box::new(Synchronous::new(layout, collective, sgd, bytes)?))
            })),
            StrategyRecipe::DeepGradient(deep) => each(Work::Steps(&|layout, collective| {
                let settings = deep.settings(sgd, self.epoch_steps);
                Ok(Box::new(DeepGradient::new(layout, collective, settings)?))
            })),
            StrategyRecipe::Downpour(downpour) => each(Work::Steps(&|layout, collective| {
                Ok(Box::new(Downpour::new(layout, collective, downpour.settings())?))
            })),
            StrategyRecipe::Local(local) => each(Work::Steps(&|layout, collective| {
                Ok(Box::new(LocalSgd::new(layout, collective, sgd, local.period)))
            })),
            StrategyRecipe::Federated(federated) => {
                let settings = federated.settings(sgd, self.recipe.batch, self.recipe.seed);
                each(Work::Rounds {
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
        trainee: &'a dyn Trainee,
        around: &Surroundings<'a>,
        work: &'a Work<'a>,
    ) -> Job<'a> {
        Job {
            trainee,
            train: self.train.clone(),
            test: self.test.clone(),
            work,
            schedule: self.schedule.clone(),
            settings: self.settings.clone(),
            watcher: around.watcher,
            store: around.store,
            resume: around.resume,
            stop: around.stop,
        }
    }

    /// Runs the job on so many threads.
    ///
    /// # Errors
    /// As [`Job::check`] and [`Job::run`].
    pub fn run(&self, world: usize, around: &Surroundings<'_>) -> Result<Outcome, TrainError> {
        self.with_job(around, |job| {
            job.check(self.trainee.layout(), world)?;
            let run = |_, collective| job.run(collective);
            let outcomes = crate::collective::threads(world, self.recipe.deadline(), run)?;
            let none = || TrainError::State("there are no ranks".to_owned());
            outcomes.into_iter().next().ok_or_else(none)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_apart_is_not_learned_from() {
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
