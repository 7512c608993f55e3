//! How far long work has come: a bar for someone who watches, plain lines for a log.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

/// How often the bar is drawn, so that one sees that the work goes on.
const TICK: Duration = Duration::from_millis(100);

/// Shows the steps of the work on the error output, so that results stay alone.
pub(crate) struct Progress {
    /// None where nobody watches.
    bar: Option<ProgressBar>,
}

impl Progress {
    /// For work of so many steps.
    pub(crate) fn new(steps: usize) -> Self {
        let style = ProgressStyle::with_template("{bar:24} {pos}/{len} {msg} {elapsed}");
        let watched = io::stderr().is_terminal();
        let bar = style.ok().filter(|_| watched).map(|style| {
            // The first step that begins is the first to be shown.
            let bar = ProgressBar::new(steps as u64).with_style(style);
            bar.enable_steady_tick(TICK);
            bar
        });
        Self { bar }
    }

    /// The next step begins.
    pub(crate) fn step(&self, what: &str) {
        match &self.bar {
            Some(bar) => {
                bar.inc(1);
                bar.set_message(what.to_owned());
            }
            // The work goes on without its log.
            None => drop(writeln!(io::stderr(), "{what}")),
        }
    }

    /// The step that is under way has come so far. Only someone who watches is told.
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
