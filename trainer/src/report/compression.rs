//! How a compression goes, for those who watch it.

use super::progress::Progress;
use crate::compress::{Done, Phase, Witness};
use crate::job::StepNews;
use parking_lot::Mutex;
use std::io::{self, Write};
use std::time::Instant;

/// Steps whose mean loss is shown.
const STEPS_EACH: u64 = 20;

/// Tells how a compression goes on the error output: a bar, or a line now and then, for each part
/// that trains, and a line for what is done.
#[derive(Default)]
pub struct CompressionReport(Mutex<Option<Part>>);

/// A part that trains.
struct Part {
    progress: Progress,
    loss: f32,
    rows: usize,
    since: Instant,
}

impl Witness for CompressionReport {
    fn begins(&self, phase: Phase, steps: u64) {
        let progress = Progress::new(steps, 0, true).named(&phase.to_string());
        let since = Instant::now();
        *self.0.lock() = Some(Part { progress, loss: 0.0, rows: 0, since });
    }

    fn step(&self, step: &StepNews) {
        if let Some(part) = &mut *self.0.lock() {
            part.loss += step.loss;
            part.rows += step.rows;
            if step.steps.is_multiple_of(STEPS_EACH) {
                part.show(step);
            }
        }
    }

    fn done(&self, done: &Done) {
        let Done { what, accuracy, .. } = done;
        // Its bar goes before the line comes.
        drop(self.0.lock().take());
        // The work goes on without its log.
        let _ = writeln!(io::stderr(), "{what}: {:.2} % right", accuracy * 100.0);
    }
}

impl Part {
    fn show(&mut self, step: &StepNews) {
        let rows_per_second = self.rows as f64 / self.since.elapsed().as_secs_f64().max(1e-9);
        self.progress.step(step, self.loss / STEPS_EACH as f32, rows_per_second);
        (self.loss, self.rows, self.since) = (0.0, 0, Instant::now());
    }
}
