//! Choice of the thread that runs a batch: that of a caller, or the replica's own.
//!
//! Waking another thread and being woken by it costs tens of microseconds. A short batch ends
//! sooner on the thread that formed it.

/// Longest run that may keep an I/O thread from its connections.
pub const INLINE_RUN_US_MAX: f64 = 250.0;

/// Longest run while a full batch waits. Then the I/O threads have enough to do with reading and
/// answering.
pub const INLINE_RUN_US_MAX_FULL: f64 = 50.0;

/// Thread that runs a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunOn {
    /// The thread of a caller that waits for the result.
    Caller,
    /// The thread of the replica.
    ReplicaThread,
}

/// Chooses the thread by the predicted run time. `is_full` tells that the batch is as large as
/// batches become. A batch of unknown run time keeps the I/O threads free.
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
    fn short_runs_are_inline_and_long_or_unknown_ones_are_not() {
        assert_eq!(run_on(Some(12.0), false), RunOn::Caller);
        assert_eq!(run_on(Some(INLINE_RUN_US_MAX * 2.0), false), RunOn::ReplicaThread);
        assert_eq!(run_on(None, false), RunOn::ReplicaThread);
    }

    #[test]
    fn a_full_batch_runs_inline_only_if_it_is_very_short() {
        assert_eq!(run_on(Some(100.0), false), RunOn::Caller);
        assert_eq!(run_on(Some(100.0), true), RunOn::ReplicaThread);
        assert_eq!(run_on(Some(12.0), true), RunOn::Caller);
    }
}
