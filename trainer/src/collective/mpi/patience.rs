//! Waiting for MPI, which has nothing to wait on: it must be asked again and again.

use std::time::{Duration, Instant};

/// Asks so often without a pause: what comes at once is not kept waiting.
const EAGER: u32 = 200;
/// Then it pauses for so long, and leaves the core to who computes: to yield instead would take
/// half of it.
const PAUSE: Duration = Duration::from_micros(100);

/// How long an operation has waited, and how it goes on to.
pub(super) struct Patience {
    started: Instant,
    deadline: Duration,
    asked: u32,
}

impl Patience {
    pub(super) fn new(deadline: Duration) -> Self {
        Self { started: Instant::now(), deadline, asked: 0 }
    }

    /// Whether the deadline has passed.
    pub(super) fn is_over(&self) -> bool {
        self.asked >= EAGER && self.started.elapsed() >= self.deadline
    }

    pub(super) fn waited_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Waits before MPI is asked again.
    pub(super) fn wait(&mut self) {
        self.asked = self.asked.saturating_add(1);
        if self.asked < EAGER {
            std::hint::spin_loop();
        } else {
            std::thread::park_timeout(PAUSE);
        }
    }
}
