//! The probes that wait for a worker: those of loads that wait for them, and trials of zero
//! dimensions that come when nothing is loaded.

use super::pending::PendingProbe;
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Pause after the last load before trials of zero dimensions go on.
const QUIET: Duration = Duration::from_millis(100);

/// Work of a probe's worker.
pub(super) enum Work {
    /// A whole probe, which a load waits for.
    Probe(Arc<PendingProbe>),
    /// The trials of zero dimensions that a probe has left.
    ZeroTrials(Arc<PendingProbe>),
    /// Nothing for a while.
    Idle,
    /// No more work will come.
    Closed,
}

/// The queue, shared by loads and workers.
#[derive(Default)]
pub(super) struct ProbeQueue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    urgent: VecDeque<Weak<PendingProbe>>,
    later: VecDeque<Arc<PendingProbe>>,
    /// Workers that wait for work.
    idle: usize,
    /// Loads that are under way.
    loads: usize,
    /// End of the last load.
    quiet_since: Option<Instant>,
    /// True while one worker tries zero dimensions that were left.
    tries_later: bool,
    is_closed: bool,
}

impl ProbeQueue {
    /// Adds a probe. Returns true if no worker waits for it.
    pub(super) fn push(&self, probe: &Arc<PendingProbe>) -> bool {
        let mut state = self.state.lock();
        state.urgent.push_back(Arc::downgrade(probe));
        let lacks_workers = state.urgent.len() > state.idle;
        drop(state);
        self.changed.notify_one();
        lacks_workers
    }

    /// Adds a probe whose trials of zero dimensions were left.
    pub(super) fn push_later(&self, probe: Arc<PendingProbe>) {
        self.state.lock().later.push_back(probe);
    }

    /// Notes that a load begins.
    pub(super) fn begin_load(&self) {
        self.state.lock().loads += 1;
    }

    /// Notes that a load has ended.
    pub(super) fn end_load(&self) {
        let mut state = self.state.lock();
        state.loads = state.loads.saturating_sub(1);
        state.quiet_since = Some(Instant::now());
    }

    /// Notes the end of trials that were left before.
    pub(super) fn end_later(&self) {
        self.state.lock().tries_later = false;
        self.changed.notify_one();
    }

    /// Ends all workers once they are done with their work.
    pub(super) fn close(&self) {
        self.state.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Waits for work, for so long at most.
    pub(super) fn next(&self, time: Duration) -> Work {
        let until = Instant::now() + time;
        let mut state = self.state.lock();
        loop {
            if state.is_closed {
                return Work::Closed;
            }
            // Without a strong count, no thread needs the probe any more.
            while let Some(probe) = state.urgent.pop_front() {
                if let Some(probe) = probe.upgrade() {
                    return Work::Probe(probe);
                }
            }
            if let Some(probe) = state.take_later() {
                return Work::ZeroTrials(probe);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Work::Idle;
            }
            let pause = if state.later.is_empty() { left } else { left.min(QUIET) };
            state.idle += 1;
            self.changed.wait_for(&mut state, pause);
            state.idle -= 1;
        }
    }
}

impl State {
    /// Takes trials that were left, if nothing is loaded, and somebody still needs them.
    fn take_later(&mut self) -> Option<Arc<PendingProbe>> {
        let is_quiet = self.quiet_since.is_none_or(|since| since.elapsed() >= QUIET);
        if self.loads > 0 || self.tries_later || !is_quiet {
            return None;
        }
        let needed = |probe: &Arc<PendingProbe>| Arc::strong_count(&probe.zero_trials) > 1;
        let probe = loop {
            let probe = self.later.pop_front()?;
            if needed(&probe) {
                break probe;
            }
        };
        self.tries_later = true;
        Some(probe)
    }
}
