//! What a queue tells of itself: to requests, what they waited behind, and to whoever watches it,
//! how far it is. Nothing is decided by that.

use super::{RunId, Running, Scheduler};
use crate::cause::BlockingBatch;
use std::hash::Hash;

/// Runs whose ends are remembered.
const COMPLETED_RUNS: usize = 16;

/// How far a queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Requests that wait.
    pub waiting: usize,
    /// Runs that are over.
    pub finished: u64,
    /// Whether nothing runs because the policy waits.
    pub is_lingering: bool,
    /// Whether a replica is free.
    pub is_idle: bool,
    /// The longest of the runs under way, as predicted.
    pub predicted_us: u64,
}

/// When the last runs were over.
pub(super) struct CompletedRuns {
    /// By the number of the run: that number, and the time.
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
    /// The run that should end first, when no replica is free for a request that comes now.
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

    /// Says how long a request that starts now has waited for the run it was behind.
    pub fn settle(&self, behind: &mut BlockingBatch, queued_us: u64, now_us: u64) {
        let is_under_way = || self.running.iter().any(|running| running.id.0 == behind.number);
        if let Some(end_us) = self.completed.of(behind.number) {
            behind.waited_us = end_us.saturating_sub(queued_us);
        } else if is_under_way() {
            behind.waited_us = now_us.saturating_sub(queued_us);
        }
    }

    /// How far it is.
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
