//! When all ranks agree whether to stop.
//!
//! Ranks may not wait for each other, and a rank that stops alone would leave the others waiting.
//! So they ask each other now and then: seldom enough to cost nothing, and often enough that
//! Ctrl-C is heeded soon.

use crate::collective::{Collective, CollectiveError};
use std::time::{Duration, Instant};

/// How often ranks ask each other.
const EVERY: Duration = Duration::from_millis(500);
/// The most steps between, however fast they are.
const STEPS_MAX: u64 = 4096;

/// Counts the steps to the next time.
pub(super) struct Pulse {
    left: u64,
    steps: u64,
    last: Instant,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self { left: 1, steps: 1, last: Instant::now() }
    }

    /// After each step: whether any rank wants to stop, where this is a time to ask. All ranks
    /// get the same answer at the same step.
    pub(super) fn beat(
        &mut self,
        group: &mut dyn Collective,
        stop: bool,
    ) -> Result<bool, CollectiveError> {
        self.left -= 1;
        if self.left > 0 {
            return Ok(false);
        }
        let mine = [u64::from(stop), self.next()].map(u64::to_le_bytes).concat();
        let all = group.all_gather(&mine)?;
        let number = |bytes: &[u8], at: usize| {
            bytes.as_chunks::<8>().0.get(at).map_or(0, |bytes| u64::from_le_bytes(*bytes))
        };
        // Ranks differ; that of the slowest counts, or it would come late by far.
        let fewest = all.iter().map(|bytes| number(bytes, 1)).min();
        self.steps = fewest.unwrap_or(1).clamp(1, STEPS_MAX);
        self.left = self.steps;
        self.last = Instant::now();
        Ok(all.iter().any(|bytes| number(bytes, 0) == 1))
    }

    /// How many steps fill the time, by how long the last ones took; no more than double.
    fn next(&self) -> u64 {
        let step = self.last.elapsed().as_secs_f64() / self.steps as f64;
        let fill = (EVERY.as_secs_f64() / step.max(1e-9)) as u64;
        fill.clamp(1, self.steps * 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collective::threads;

    #[test]
    fn all_ranks_stop_at_the_same_step() {
        let stopped = threads(3, Duration::from_secs(10), |rank, mut group| {
            let mut pulse = Pulse::new();
            for step in 0..100_000_u64 {
                if pulse.beat(group.as_mut(), rank == 1 && step >= 700)? {
                    return Ok(step);
                }
            }
            Ok(0)
        });
        let stopped = stopped.unwrap();
        assert!(stopped[0] >= 700 && stopped.iter().all(|step| *step == stopped[0]), "{stopped:?}");
    }
}
