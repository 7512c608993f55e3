//! Progress of long work: a bar on a terminal, plain lines in a log.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

/// Interval between updates of the bar.
const TICK: Duration = Duration::from_millis(100);

/// Shows the steps of the work on standard error, apart from results.
pub(crate) struct Progress {
    /// The bar; `None` without a terminal.
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Creates the progress of a number of steps.
    pub(crate) fn new(steps: usize) -> Self {
        let style = ProgressStyle::with_template("{bar:24} {pos}/{len} {msg} {elapsed}");
        let watched = io::stderr().is_terminal();
        let bar = style.ok().filter(|_| watched).map(|style| {
            // The first step counts as 1 when it begins.
            let bar = ProgressBar::new(steps as u64).with_style(style);
            bar.enable_steady_tick(TICK);
            bar
        });
        Self { bar }
    }

    /// Begins the next step.
    pub(crate) fn step(&self, what: &str) {
        match &self.bar {
            Some(bar) => {
                bar.inc(1);
                bar.set_message(what.to_owned());
            }
            // The work continues if the log cannot be written.
            None => drop(writeln!(io::stderr(), "{what}")),
        }
    }

    /// Updates the progress of the current step, on a terminal only.
    pub(crate) fn part(&self, what: &str, done: usize, of: usize) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{what}: {done} of {of}"));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
