//! Where a batch runs: on the thread that has the requests in hand, or on the replica's own.
//!
//! Waking another thread and being woken by it costs tens of microseconds. A batch that runs for
//! no longer than that is finished sooner where it was formed.

/// Longest run for which a thread of the front may be kept from its connections.
pub const INLINE_RUN_US_MAX: f64 = 250.0;

/// The same while more waits than a batch takes: then nobody is waited for, and the front has
/// enough to do with taking in and answering.
pub const INLINE_RUN_US_MAX_FULL: f64 = 50.0;

/// Where a batch runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunOn {
    /// On the thread that waits for its result.
    Caller,
    /// On the replica's thread.
    ReplicaThread,
}

/// Places a batch by its predicted run time, and by whether it is as full as batches become. An
/// unknown one keeps the front free.
pub fn run_on(predicted_run_us: Option<f64>, is_full: bool) -> RunOn {
    let run_us_max = if is_full { INLINE_RUN_US_MAX_FULL } else { INLINE_RUN_US_MAX };
    match predicted_run_us {
        Some(run_us) if run_us <= run_us_max => RunOn::Caller,
        _ => RunOn::ReplicaThread,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_runs_stay_and_long_or_unknown_ones_go() {
        assert_eq!(run_on(Some(12.0), false), RunOn::Caller);
        assert_eq!(run_on(Some(INLINE_RUN_US_MAX * 2.0), false), RunOn::ReplicaThread);
        assert_eq!(run_on(None, false), RunOn::ReplicaThread);
    }

    #[test]
    fn a_busy_front_gives_full_batches_away() {
        assert_eq!(run_on(Some(100.0), false), RunOn::Caller);
        assert_eq!(run_on(Some(100.0), true), RunOn::ReplicaThread);
        assert_eq!(run_on(Some(12.0), true), RunOn::Caller);
    }
}
