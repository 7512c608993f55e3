//! Clocks that measure runs.

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Clock that measures a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunClock {
    /// CPU time of the calling thread. It does not count waiting for a core, which a loading
    /// thread of low priority does.
    CallerCpu,
    /// Wall-clock time.
    Wall,
}

impl RunClock {
    /// Time since an origin of the clock. Only differences of it mean something.
    pub(crate) fn now(self) -> Duration {
        let clock = match self {
            Self::CallerCpu => ClockId::ThreadCPUTime,
            Self::Wall => ClockId::Monotonic,
        };
        let time = clock_gettime(clock);
        let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
        Duration::new(time.tv_sec.unsigned_abs(), nanos)
    }
}
