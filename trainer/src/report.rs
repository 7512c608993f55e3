//! Reports of training: progress on the terminal, events as JSON lines, and curves as SVG.

mod compression;
mod curves;
mod metrics;
mod progress;

use crate::checkpoint::Measurement;
use crate::error::TrainError;
use crate::job::{StepEvent, TrainObserver};
pub use compression::CompressionReport;
use metrics::{Event, Metrics};
use parking_lot::Mutex;
use progress::Progress;
use skysail_graph::write_atomically;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// File name of the events in the output folder.
const METRICS: &str = "metrics.jsonl";
/// Steps averaged into one event.
const STEPS_EACH: u64 = 20;

/// Reports a training run. Shows a progress bar or log lines on stderr, writes events to
/// `metrics.jsonl`, and draws `loss.svg` and `accuracy.svg` at the end.
pub struct Report {
    folder: PathBuf,
    started: Instant,
    inner: Mutex<Inner>,
}

struct Inner {
    progress: Progress,
    metrics: Metrics,
    /// Losses since the last event.
    losses: Vec<f32>,
    rows: usize,
    since: Instant,
}

impl Report {
    /// Starts the report of a run of `steps` steps. A resumed run keeps the events up to step
    /// `done`. Nothing is printed to stderr if `shown` is false.
    ///
    /// # Errors
    /// `Output` when the folder or the file cannot be written.
    pub fn new(folder: &Path, steps: u64, done: u64, shown: bool) -> Result<Self, TrainError> {
        std::fs::create_dir_all(folder).map_err(|error| output(folder, &error))?;
        let metrics = Metrics::open(&folder.join(METRICS), done)?;
        let progress = Progress::new(steps, done, shown);
        let inner = Inner { progress, metrics, losses: Vec::new(), rows: 0, since: Instant::now() };
        let folder = folder.to_path_buf();
        Ok(Self { folder, started: Instant::now(), inner: Mutex::new(inner) })
    }

    /// Prints a line beside the progress bar.
    pub fn note(&self, text: &str) {
        self.inner.lock().progress.line(text);
    }

    /// Draws the curves.
    ///
    /// # Errors
    /// `Output` when the files cannot be written.
    pub fn finish(&self) -> Result<(), TrainError> {
        let mut inner = self.inner.lock();
        inner.progress.end();
        for (name, drawing) in curves::draw(inner.metrics.events()) {
            let path = self.folder.join(name);
            write_atomically(&path, drawing.as_bytes())?;
        }
        Ok(())
    }
}

impl TrainObserver for Report {
    fn step(&self, step: &StepEvent) -> Result<(), TrainError> {
        let inner = &mut *self.inner.lock();
        inner.losses.push(step.loss);
        inner.rows += step.rows;
        if step.steps.is_multiple_of(STEPS_EACH) {
            inner.report_steps(step, self.started)?;
        }
        Ok(())
    }

    fn measured(&self, measured: &Measurement) -> Result<(), TrainError> {
        let inner = &mut *self.inner.lock();
        inner.metrics.add(Event::Measured {
            seconds: self.started.elapsed().as_secs_f64(),
            measured: *measured,
        })?;
        inner.progress.line(&line(measured));
        Ok(())
    }
}

impl Inner {
    /// Reports the steps since the last event.
    fn report_steps(&mut self, step: &StepEvent, started: Instant) -> Result<(), TrainError> {
        let loss = self.losses.iter().sum::<f32>() / self.losses.len().max(1) as f32;
        let seconds = self.since.elapsed().as_secs_f64();
        let rows_per_second = self.rows as f64 / seconds.max(1e-9);
        self.metrics.add(Event::Step {
            seconds: started.elapsed().as_secs_f64(),
            epoch: step.epoch,
            steps: step.steps,
            loss,
            rate: step.rate,
            bytes_sent: step.bytes_sent,
            rows_per_second,
        })?;
        self.progress.step(step, loss, rows_per_second);
        self.losses.clear();
        (self.rows, self.since) = (0, Instant::now());
        Ok(())
    }
}

/// Formats a measurement as a line.
fn line(measured: &Measurement) -> String {
    let Measurement { epoch, steps, rate, train_loss, test_loss, .. } = measured;
    let accuracy = measured.accuracy.map(|share| format!(", accuracy {:.2} %", 100.0 * share));
    format!(
        "epoch {epoch}: step {steps}, rate {rate:.4}, loss {train_loss:.4}, test loss {test_loss:.4}{}, {}",
        accuracy.unwrap_or_default(),
        bytes(measured.bytes_sent)
    )
}

/// Formats sent bytes in the largest unit that leaves a number of at least 1.
fn bytes(sent: u64) -> String {
    let units = ["B", "kB", "MB", "GB"];
    let unit = (0..units.len()).rev().find(|unit| sent >= 1000_u64.pow(*unit as u32)).unwrap_or(0);
    format!("{:.1} {} sent", sent as f64 / 1000_f64.powi(unit as i32), units[unit])
}

/// An error about a file that could not be written.
fn output(path: &Path, error: &std::io::Error) -> TrainError {
    TrainError::Output { path: path.to_path_buf(), problem: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(report: &Report, range: std::ops::Range<u64>) {
        for step in range {
            let steps = step + 1;
            let (loss, rate, bytes_sent) = (1.0 / steps as f32, 0.1, steps * 10);
            report.step(&StepEvent { steps, epoch: 0, loss, rate, bytes_sent, rows: 8 }).unwrap();
        }
    }

    fn measured(steps: u64) -> Measurement {
        let (rate, train_loss, test_loss, accuracy) = (0.1, 0.5, 0.4, Some(0.9));
        Measurement {
            epoch: 1,
            steps,
            rate,
            train_loss,
            test_loss,
            accuracy,
            bytes_sent: 2_500_000,
        }
    }

    fn events(folder: &Path) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(folder.join(METRICS)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn events_are_lines_of_json_and_curves_are_drawn() {
        let folder = tempfile::tempdir().unwrap();
        let report = Report::new(folder.path(), 100, 0, false).unwrap();
        steps(&report, 0..40);
        report.measured(&measured(40)).unwrap();
        report.finish().unwrap();
        let found = events(folder.path());
        assert_eq!(found.len(), 3);
        assert_eq!((&found[1]["event"], &found[1]["steps"]), (&"step".into(), &40.into()));
        assert_eq!(found[1]["bytes-sent"], 400);
        assert_eq!((&found[2]["event"], &found[2]["epoch"]), (&"measured".into(), &1.into()));
        for name in ["loss.svg", "accuracy.svg"] {
            let drawing = std::fs::read_to_string(folder.path().join(name)).unwrap();
            assert!(drawing.starts_with("<svg") && drawing.contains("polyline"), "{name}");
        }
    }

    #[test]
    fn a_resumed_run_keeps_its_earlier_events() {
        let folder = tempfile::tempdir().unwrap();
        let report = Report::new(folder.path(), 100, 0, false).unwrap();
        steps(&report, 0..60);
        drop(report);
        let path = folder.path().join(METRICS);
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("{\"event\":\"ste");
        std::fs::write(&path, text).unwrap();
        let report = Report::new(folder.path(), 100, 40, false).unwrap();
        steps(&report, 40..60);
        let found: Vec<_> =
            events(folder.path()).iter().map(|event| event["steps"].clone()).collect();
        assert_eq!(found, [20, 40, 60]);
        let anew = Report::new(folder.path(), 100, 0, false);
        drop(anew);
        assert!(events(folder.path()).is_empty());
    }

    #[test]
    fn a_measurement_is_printed_in_a_line() {
        let wanted = "epoch 1: step 40, rate 0.1000, loss 0.5000, test loss 0.4000, accuracy 90.00 %, \
                      2.5 MB sent";
        assert_eq!(line(&measured(40)), wanted);
        assert_eq!(bytes(0), "0.0 B sent");
    }

    #[test]
    fn a_folder_that_cannot_be_created_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let message = Report::new(&file.join("in"), 1, 0, false).err().unwrap().to_string();
        assert!(message.starts_with("cannot write ") && message.contains("file/in"), "{message}");
    }
}
