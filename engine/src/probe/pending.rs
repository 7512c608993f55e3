//! A probe that is requested by one thread and made by another, with its results so far.

use super::Subject;
use crate::load::row_comparison::RowComparison;
use crate::zero_elements::ZeroTrials;
use parking_lot::{Condvar, Mutex};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// Period at which a waiting thread checks for the server's stop.
const POLL: Duration = Duration::from_millis(50);

/// A probe, shared by the thread that waits for it and the worker.
pub(super) struct PendingProbe {
    pub(super) subject: Subject,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Success, or the reason not to load the version.
    load: Option<Result<(), String>>,
    /// Result of comparing rows, or the reason not to compare them here.
    rows: Option<Result<Option<RowComparison>, String>>,
    /// Results for zero dimensions; the inner `None` if nothing was tried.
    zero_trials: Option<Option<ZeroTrials>>,
}

impl PendingProbe {
    pub(super) fn new(subject: Subject) -> Self {
        Self { subject, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Sets whether the version may be loaded; only the first call counts.
    pub(super) fn set_load(&self, load: Result<(), String>) {
        let mut state = self.state.lock();
        if let Err(why) = &load {
            state.rows.get_or_insert(Err(why.clone()));
        }
        state.load.get_or_insert(load);
        drop(state);
        self.changed.notify_all();
    }

    /// Sets the result of comparing rows.
    pub(super) fn set_rows(&self, found: Option<RowComparison>) {
        self.state.lock().rows.get_or_insert(Ok(found));
        self.changed.notify_all();
    }

    /// Sets the results for zero dimensions, and completes the probe.
    pub(super) fn set_zero_trials(&self, trials: Option<ZeroTrials>) {
        let mut state = self.state.lock();
        state.rows.get_or_insert(Ok(None));
        state.zero_trials.get_or_insert(trials);
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until the version may be loaded; the error is the reason why it may not.
    pub(super) fn wait_load(&self, stopping: &AtomicBool) -> Result<(), String> {
        let stopped = || Err("the server stops".into());
        self.wait(stopping, |state| state.load.clone()).unwrap_or_else(stopped)
    }

    /// Waits for the result of comparing rows; the error is the reason not to compare them here.
    pub(super) fn wait_rows(&self, stopping: &AtomicBool) -> Result<Option<RowComparison>, String> {
        let stopped = || Err("the server stops".into());
        self.wait(stopping, |state| state.rows.clone()).unwrap_or_else(stopped)
    }

    /// Waits for the results for zero dimensions.
    pub(super) fn wait_zero_trials(&self, stopping: &AtomicBool) -> Option<ZeroTrials> {
        self.wait(stopping, |state| state.zero_trials.clone()).flatten()
    }

    fn wait<T>(&self, stopping: &AtomicBool, get: impl Fn(&State) -> Option<T>) -> Option<T> {
        let mut state = self.state.lock();
        loop {
            if let Some(found) = get(&state) {
                return Some(found);
            }
            if stopping.load(Relaxed) {
                return None;
            }
            self.changed.wait_for(&mut state, POLL);
        }
    }
}
