//! Polling of MPI with a timeout, as MPI has no blocking wait with one.

use std::time::{Duration, Instant};

/// Number of polls without a pause, for messages that arrive at once.
const SPINS: u32 = 200;
/// Pause between later polls. It leaves the core to computing threads; yielding instead would take
/// half of it.
const PAUSE: Duration = Duration::from_micros(100);

/// Timeout and polling rate of one operation.
pub(super) struct PollTimeout {
    started: Instant,
    timeout: Duration,
    polls: u32,
}

impl PollTimeout {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { started: Instant::now(), timeout, polls: 0 }
    }

    /// Returns true when the timeout has passed.
    pub(super) fn is_expired(&self) -> bool {
        self.polls >= SPINS && self.started.elapsed() >= self.timeout
    }

    pub(super) fn waited_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Pauses before the next poll.
    pub(super) fn pause(&mut self) {
        self.polls = self.polls.saturating_add(1);
        if self.polls < SPINS {
            std::hint::spin_loop();
        } else {
            std::thread::park_timeout(PAUSE);
        }
    }
}
