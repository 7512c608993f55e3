//! One version's first meeting with the runtime: what has come of it so far, for whoever waits.

use super::Subject;
use crate::empty::Zeros;
use crate::repository::row_trial::RowTrial;
use parking_lot::{Condvar, Mutex};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// How often who waits looks whether the server stops.
const POLL: Duration = Duration::from_millis(50);

/// A meeting, asked for by one thread and had by another.
pub(super) struct Meeting {
    pub(super) subject: Subject,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Whether it may be loaded, or why not.
    loads: Option<Result<(), String>>,
    /// Whether rows of all kinds of values may be run together and apart, or why not.
    compares: Option<Result<Option<RowTrial>, String>>,
    /// What is known of dimensions that are zero, or that nothing was tried.
    zeros: Option<Option<Zeros>>,
}

impl Meeting {
    pub(super) fn new(subject: Subject) -> Self {
        Self { subject, state: Mutex::default(), changed: Condvar::new() }
    }

    /// It may be loaded, or not; only what is told first counts.
    pub(super) fn tell_loads(&self, loads: Result<(), String>) {
        let mut state = self.state.lock();
        if let Err(why) = &loads {
            state.compares.get_or_insert(Err(why.clone()));
        }
        state.loads.get_or_insert(loads);
        drop(state);
        self.changed.notify_all();
    }

    /// Rows may be run together and apart, and what came of that.
    pub(super) fn tell_compares(&self, found: Option<RowTrial>) {
        self.state.lock().compares.get_or_insert(Ok(found));
        self.changed.notify_all();
    }

    /// Nothing more will be found out.
    pub(super) fn tell_zeros(&self, zeros: Option<Zeros>) {
        let mut state = self.state.lock();
        state.compares.get_or_insert(Ok(None));
        state.zeros.get_or_insert(zeros);
        drop(state);
        self.changed.notify_all();
    }

    /// Whether the version may be loaded; or why not.
    pub(super) fn loads(&self, stopping: &AtomicBool) -> Result<(), String> {
        let stopped = || Err("the server stops".into());
        self.wait(stopping, |state| state.loads.clone()).unwrap_or_else(stopped)
    }

    /// What came of rows that were run together and apart, where they were; or why they are not to be.
    pub(super) fn compares(&self, stopping: &AtomicBool) -> Result<Option<RowTrial>, String> {
        let stopped = || Err("the server stops".into());
        self.wait(stopping, |state| state.compares.clone()).unwrap_or_else(stopped)
    }

    /// What was found out of dimensions that are zero.
    pub(super) fn zeros(&self, stopping: &AtomicBool) -> Option<Zeros> {
        self.wait(stopping, |state| state.zeros.clone()).flatten()
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
