//! Progress of a compression run on the terminal.

use super::progress::Progress;
use crate::compress::{CompressObserver, CompressionStep, Phase};
use crate::job::StepEvent;
use parking_lot::Mutex;
use std::io::{self, Write};
use std::time::Instant;

/// Steps averaged into one line.
const STEPS_EACH: u64 = 20;

/// Reports a compression run on stderr: a bar or log lines for each phase that trains, and a line
/// for each finished step.
#[derive(Default)]
pub struct CompressionReport(Mutex<Option<PhaseProgress>>);

/// Progress of the phase in training.
struct PhaseProgress {
    progress: Progress,
    loss: f32,
    rows: usize,
    since: Instant,
}

impl CompressObserver for CompressionReport {
    fn phase_started(&self, phase: Phase, steps: u64) {
        let progress = Progress::new(steps, 0, true).with_name(&phase.to_string());
        let since = Instant::now();
        *self.0.lock() = Some(PhaseProgress { progress, loss: 0.0, rows: 0, since });
    }

    fn step(&self, step: &StepEvent) {
        if let Some(phase) = &mut *self.0.lock() {
            phase.loss += step.loss;
            phase.rows += step.rows;
            if step.steps.is_multiple_of(STEPS_EACH) {
                phase.show(step);
            }
        }
    }

    fn step_done(&self, done: &CompressionStep) {
        let CompressionStep { what, accuracy, .. } = done;
        // The bar is removed before the line is printed.
        drop(self.0.lock().take());
        // A broken stderr does not stop the work.
        let _ = writeln!(io::stderr(), "{what}: accuracy {:.2} %", accuracy * 100.0);
    }
}

impl PhaseProgress {
    fn show(&mut self, step: &StepEvent) {
        let rows_per_second = self.rows as f64 / self.since.elapsed().as_secs_f64().max(1e-9);
        self.progress.step(step, self.loss / STEPS_EACH as f32, rows_per_second);
        (self.loss, self.rows, self.since) = (0.0, 0, Instant::now());
    }
}
