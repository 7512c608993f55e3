//! Progress of training on stderr: a bar on a terminal, plain lines in a log.

use super::bytes;
use crate::job::StepEvent;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Least time between two log lines about steps.
const LINES_EVERY: Duration = Duration::from_secs(10);

/// Shows progress on stderr, so that stdout holds results only.
pub(super) struct Progress {
    shown: bool,
    /// `None` if stderr is not a terminal.
    bar: Option<ProgressBar>,
    last_line: Instant,
    steps: u64,
    /// Prefix that names the phase, if there are several.
    name: String,
}

impl Progress {
    pub(super) fn new(steps: u64, done: u64, shown: bool) -> Self {
        let is_terminal = shown && io::stderr().is_terminal();
        let style = ProgressStyle::with_template("{prefix}{bar:24} {pos}/{len} {msg}, {eta} left");
        let bar = style
            .ok()
            .filter(|_| is_terminal)
            .map(|style| ProgressBar::new(steps).with_style(style).with_position(done));
        Self { shown, bar, last_line: Instant::now(), steps, name: String::new() }
    }

    /// Names the phase.
    pub(super) fn with_name(mut self, name: &str) -> Self {
        self.name = format!("{name}: ");
        if let Some(bar) = &self.bar {
            bar.set_prefix(self.name.clone());
        }
        self
    }

    pub(super) fn step(&mut self, step: &StepEvent, loss: f32, rows_per_second: f64) {
        let text = || {
            let (rate, sent) = (step.rate, bytes(step.bytes_sent));
            format!("loss {loss:.4}, rate {rate:.4}, {rows_per_second:.0} rows/s, {sent}")
        };
        if let Some(bar) = &self.bar {
            bar.set_position(step.steps);
            bar.set_message(text());
        } else if self.shown && self.last_line.elapsed() >= LINES_EVERY {
            self.last_line = Instant::now();
            let (name, text) = (&self.name, text());
            self.line(&format!("{name}step {} of {}: {text}", step.steps, self.steps));
        }
    }

    /// Prints a line above the bar.
    pub(super) fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            // A broken stderr does not stop the work.
            None if self.shown => drop(writeln!(io::stderr(), "{text}")),
            None => {}
        }
    }

    pub(super) fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}
