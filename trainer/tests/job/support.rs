//! Small training runs for tests.

use skysail_trainer::{
    Checkpoint, Measurement, Outcome, PreparedRecipe, Recipe, RunContext, StepEvent, Store,
    TrainError, TrainObserver,
};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Twenty steps an epoch on small digits.
const SMALL: &str = "epochs = 3\nbatch = 16\nmodel.mlp = [784, 12, 10]\n\
                     data.digits = { train = 320, test = 100 }\nschedule.rate = 0.05\n\
                     timeout-seconds = 60\n";

/// The small recipe with these settings.
pub fn recipe(settings: &[&str]) -> Recipe {
    let settings: Vec<String> = settings.iter().map(|text| (*text).to_owned()).collect();
    Recipe::parse(SMALL, &settings).unwrap()
}

/// Records events, and optionally stops the run at a step.
#[derive(Default)]
pub struct Recorder {
    pub steps: Mutex<Vec<StepEvent>>,
    pub measured: Mutex<Vec<Measurement>>,
    pub stop: AtomicBool,
    pub stop_at: Option<u64>,
}

impl TrainObserver for Recorder {
    fn step(&self, step: &StepEvent) -> Result<(), TrainError> {
        self.steps.lock().unwrap().push(*step);
        if self.stop_at == Some(step.steps) {
            self.stop.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    fn measured(&self, measured: &Measurement) -> Result<(), TrainError> {
        self.measured.lock().unwrap().push(*measured);
        Ok(())
    }
}

/// Runs a prepared recipe on `ranks` threads.
pub fn run(
    prepared: &PreparedRecipe,
    ranks: usize,
    recorder: &Recorder,
    store: Option<&Store>,
    resume: Option<&Checkpoint>,
) -> Result<Outcome, TrainError> {
    prepared.run(ranks, &RunContext { observer: recorder, store, resume, stop: &recorder.stop })
}

/// Parameters as bits, for exact comparison.
pub fn bits(outcome: &Outcome) -> Vec<u32> {
    outcome.parameters.iter().map(|value| value.to_bits()).collect()
}
