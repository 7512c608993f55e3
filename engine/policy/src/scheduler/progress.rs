//! Reports of the scheduler: the batch that a request waits for, and the progress for the watchdog.
//! They decide nothing.

use super::{RunId, Running, Scheduler};
use crate::cause::BlockingBatch;
use std::hash::Hash;

/// Number of runs whose ends are remembered.
const COMPLETED_RUNS: usize = 16;

/// Progress of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Number of requests that wait.
    pub waiting: usize,
    /// Number of runs that have ended.
    pub finished: u64,
    /// True while the policy waits although a replica is free.
    pub is_lingering: bool,
    /// True if a replica is free.
    pub is_idle: bool,
    /// Longest predicted run time of the runs under way.
    pub predicted_us: u64,
}

/// End times of the last runs.
pub(super) struct CompletedRuns {
    /// Number and end time of each run, indexed by the number.
    of: [(u64, u64); COMPLETED_RUNS],
}

impl Default for CompletedRuns {
    fn default() -> Self {
        Self { of: [(u64::MAX, 0); COMPLETED_RUNS] }
    }
}

impl CompletedRuns {
    pub(super) fn put(&mut self, run: RunId, now_us: u64) {
        self.of[slot(run.0)] = (run.0, now_us);
    }

    fn of(&self, number: u64) -> Option<u64> {
        let (known, end_us) = self.of[slot(number)];
        (known == number).then_some(end_us)
    }
}

fn slot(number: u64) -> usize {
    (number % COMPLETED_RUNS as u64) as usize
}

impl<T, K: Clone + Eq + Hash> Scheduler<T, K> {
    /// Returns the run that is predicted to end first, if no replica is free for a request that
    /// arrives now.
    pub fn behind(&self, now_us: u64) -> Option<BlockingBatch> {
        if self.replicas.has_available() {
            return None;
        }
        let left_us = |running: &&Running| {
            let end_us = running.started_us.saturating_add(running.predicted_us as u64);
            end_us.saturating_sub(now_us)
        };
        let first = self.running.iter().min_by_key(left_us)?;
        let expected_us = left_us(&first);
        let Running { id: RunId(number), rows, .. } = *first;
        Some(BlockingBatch { number, rows, expected_us, waited_us: expected_us })
    }

    /// Sets the time that a request, which starts now, has waited for the run before it.
    pub fn settle(&self, behind: &mut BlockingBatch, queued_us: u64, now_us: u64) {
        let is_under_way = || self.running.iter().any(|running| running.id.0 == behind.number);
        if let Some(end_us) = self.completed.of(behind.number) {
            behind.waited_us = end_us.saturating_sub(queued_us);
        } else if is_under_way() {
            behind.waited_us = now_us.saturating_sub(queued_us);
        }
    }

    /// Returns the progress.
    pub fn progress(&self) -> Progress {
        let predicted_us = self.running.iter().map(|running| running.predicted_us);
        Progress {
            waiting: self.waiting.len(),
            finished: self.finished,
            is_lingering: self.replicas.has_available() && self.waits_since_us.is_some(),
            is_idle: self.replicas.has_available(),
            predicted_us: predicted_us.fold(0.0, f64::max) as u64,
        }
    }

    /// Number of runs under way.
    pub fn busy(&self) -> usize {
        self.running.len()
    }
}
