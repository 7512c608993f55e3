//! How far a training is: a bar for someone who watches, plain lines for a log.

use super::bytes;
use crate::job::StepNews;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often a log is told of steps, at most.
const LINES_EVERY: Duration = Duration::from_secs(10);

/// Shows progress on the error output, so that results stay alone.
pub(super) struct Progress {
    shown: bool,
    /// None where nobody watches.
    bar: Option<ProgressBar>,
    told: Instant,
    steps: u64,
    /// What it is progress of, where there is more than one part.
    name: String,
}

impl Progress {
    pub(super) fn new(steps: u64, done: u64, shown: bool) -> Self {
        let watched = shown && io::stderr().is_terminal();
        let style = ProgressStyle::with_template("{prefix}{bar:24} {pos}/{len} {msg}, {eta} left");
        let bar = style
            .ok()
            .filter(|_| watched)
            .map(|style| ProgressBar::new(steps).with_style(style).with_position(done));
        Self { shown, bar, told: Instant::now(), steps, name: String::new() }
    }

    /// The same, of a part that has a name.
    pub(super) fn named(mut self, name: &str) -> Self {
        self.name = format!("{name}: ");
        if let Some(bar) = &self.bar {
            bar.set_prefix(self.name.clone());
        }
        self
    }

    pub(super) fn step(&mut self, step: &StepNews, loss: f32, rows_per_second: f64) {
        let text = || {
            let (rate, sent) = (step.rate, bytes(step.bytes_sent));
            format!("loss {loss:.4}, rate {rate:.4}, {rows_per_second:.0} rows/s, {sent}")
        };
        if let Some(bar) = &self.bar {
            bar.set_position(step.steps);
            bar.set_message(text());
        } else if self.shown && self.told.elapsed() >= LINES_EVERY {
            self.told = Instant::now();
            let (name, text) = (&self.name, text());
            self.line(&format!("{name}step {} of {}: {text}", step.steps, self.steps));
        }
    }

    /// A line of its own, above the bar.
    pub(super) fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            // The work goes on without its log.
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
