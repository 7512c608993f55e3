//! A probe that is requested by one thread and made by another, with its results so far.

use super::Subject;
use crate::load::row_comparison::RowComparison;
use crate::zero_elements::{TrialCell, ZeroTrials};
use parking_lot::{Condvar, Mutex};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Period at which a waiting thread checks for the server's stop.
const POLL: Duration = Duration::from_millis(50);

/// A probe, shared by the thread that waits for it and the worker.
pub(super) struct PendingProbe {
    pub(super) subject: Subject,
    /// Results for zero dimensions, which may come when the version serves already.
    pub(super) zero_trials: TrialCell,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Success, or the reason not to load the version.
    load: Option<Result<(), String>>,
    /// Microseconds of the run of one row.
    row_us: Option<u64>,
    /// Result of comparing rows, or the reason not to compare them here.
    rows: Option<Result<Option<RowComparison>, String>>,
    /// True once no result for zero dimensions will come soon.
    is_over: bool,
}

impl PendingProbe {
    pub(super) fn new(subject: Subject) -> Self {
        let (state, changed) = (Mutex::default(), Condvar::new());
        Self { subject, zero_trials: TrialCell::default(), state, changed }
    }

    /// Sets whether the version may be loaded; only the first call counts.
    pub(super) fn set_load(&self, load: Result<(), String>) {
        let mut state = self.state.lock();
        if let Err(why) = &load {
            state.rows.get_or_insert(Err(why.clone()));
            state.is_over = true;
        }
        state.load.get_or_insert(load);
        drop(state);
        self.changed.notify_all();
    }

    /// Sets the run time of one row, before the version may be loaded.
    pub(super) fn set_row_us(&self, row_us: u64) {
        self.state.lock().row_us = Some(row_us);
    }

    /// Microseconds of the run of one row, if the probe has made it.
    pub(super) fn row_us(&self) -> Option<u64> {
        self.state.lock().row_us
    }

    /// Sets the result of comparing rows.
    pub(super) fn set_rows(&self, found: Option<RowComparison>) {
        self.state.lock().rows.get_or_insert(Ok(found));
        self.changed.notify_all();
    }

    /// Sets the reason not to run rows together; only the first result counts.
    pub(super) fn refuse_rows(&self, why: String) {
        self.state.lock().rows.get_or_insert(Err(why));
        self.changed.notify_all();
    }

    /// Sets the results for zero dimensions, and completes the probe.
    pub(super) fn set_zero_trials(&self, trials: Option<ZeroTrials>) {
        self.zero_trials.get_or_init(|| trials);
        self.postpone_zero_trials();
    }

    /// Lets nobody wait for the results for zero dimensions, which come later.
    pub(super) fn postpone_zero_trials(&self) {
        let mut state = self.state.lock();
        state.rows.get_or_insert(Ok(None));
        state.is_over = true;
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until the version may be loaded; the error is the reason why it may not.
    pub(super) fn wait_load(&self, stopping: &AtomicBool) -> Result<(), String> {
        let stopped = || Err("the server stops".into());
        self.wait(stopping, None, |state| state.load.clone()).unwrap_or_else(stopped)
    }

    /// Waits for the result of comparing rows; the error is the reason not to compare them here.
    pub(super) fn wait_rows(&self, stopping: &AtomicBool) -> Result<Option<RowComparison>, String> {
        let stopped = || Err("the server stops".into());
        self.wait(stopping, None, |state| state.rows.clone()).unwrap_or_else(stopped)
    }

    /// Waits for the results for zero dimensions, unless they come later or take long.
    pub(super) fn wait_zero_trials(&self, stopping: &AtomicBool, time: Duration) {
        self.wait(stopping, Some(Instant::now() + time), |state| state.is_over.then_some(()));
    }

    fn wait<T>(
        &self,
        stopping: &AtomicBool,
        until: Option<Instant>,
        get: impl Fn(&State) -> Option<T>,
    ) -> Option<T> {
        let mut state = self.state.lock();
        loop {
            if let Some(found) = get(&state) {
                return Some(found);
            }
            if stopping.load(Relaxed) || until.is_some_and(|until| until <= Instant::now()) {
                return None;
            }
            self.changed.wait_for(&mut state, POLL);
        }
    }
}
