//! Small trainings for tests.

use skysail_trainer::{
    Checkpoint, Measured, Outcome, Prepared, Recipe, StepNews, Store, Surroundings, TrainError,
    Watcher,
};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Twenty steps an epoch on small digits, of which some have to be learned.
const SMALL: &str = "epochs = 3\nbatch = 16\nmodel.mlp = [784, 12, 10]\n\
                     data.digits = { train = 320, test = 100 }\nschedule.rate = 0.05\n\
                     deadline-seconds = 60\n";

/// The small recipe, with these keys set.
pub fn recipe(settings: &[&str]) -> Recipe {
    let settings: Vec<String> = settings.iter().map(|text| (*text).to_owned()).collect();
    Recipe::parse(SMALL, &settings).unwrap()
}

/// Remembers what it was told, and stops the training at a step if it shall.
#[derive(Default)]
pub struct Seen {
    pub steps: Mutex<Vec<StepNews>>,
    pub measured: Mutex<Vec<Measured>>,
    pub stop: AtomicBool,
    pub stop_at: Option<u64>,
}

impl Watcher for Seen {
    fn step(&self, step: &StepNews) -> Result<(), TrainError> {
        self.steps.lock().unwrap().push(*step);
        if self.stop_at == Some(step.steps) {
            self.stop.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    fn measured(&self, measured: &Measured) -> Result<(), TrainError> {
        self.measured.lock().unwrap().push(*measured);
        Ok(())
    }
}

/// Runs a training on so many threads.
pub fn run(
    prepared: &Prepared,
    ranks: usize,
    seen: &Seen,
    store: Option<&Store>,
    resume: Option<&Checkpoint>,
) -> Result<Outcome, TrainError> {
    prepared.run(ranks, &Surroundings { watcher: seen, store, resume, stop: &seen.stop })
}

/// Parameters as bits, so that nothing is taken for the same that is not.
pub fn bits(outcome: &Outcome) -> Vec<u32> {
    outcome.parameters.iter().map(|value| value.to_bits()).collect()
}
