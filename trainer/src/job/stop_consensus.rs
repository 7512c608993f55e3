//! Consensus of all ranks on stopping.
//!
//! Ranks need not wait for each other, but a rank that stops alone would leave the others waiting.
//! They vote from time to time: rarely enough to cost nothing, often enough that Ctrl-C acts soon.

use crate::collective::{Collective, CollectiveError};
use std::time::{Duration, Instant};

/// Time between votes.
const INTERVAL: Duration = Duration::from_millis(500);
/// Upper limit of steps between votes.
const STEPS_MAX: u64 = 4096;

/// Schedules the votes by counting steps.
pub(super) struct StopConsensus {
    left: u64,
    steps: u64,
    last: Instant,
}

impl StopConsensus {
    pub(super) fn new() -> Self {
        Self { left: 1, steps: 1, last: Instant::now() }
    }

    /// Votes, if one is due after this step. Returns true on all ranks at the same step if any rank
    /// wants to stop.
    pub(super) fn vote(
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
        // The slowest rank decides; otherwise its next vote would be late.
        let fewest = all.iter().map(|bytes| number(bytes, 1)).min();
        self.steps = fewest.unwrap_or(1).clamp(1, STEPS_MAX);
        self.left = self.steps;
        self.last = Instant::now();
        Ok(all.iter().any(|bytes| number(bytes, 0) == 1))
    }

    /// Steps until the next vote, from the duration of the last ones; at most doubles.
    fn next(&self) -> u64 {
        let step = self.last.elapsed().as_secs_f64() / self.steps as f64;
        let fill = (INTERVAL.as_secs_f64() / step.max(1e-9)) as u64;
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
            let mut consensus = StopConsensus::new();
            for step in 0..100_000_u64 {
                if consensus.vote(group.as_mut(), rank == 1 && step >= 700)? {
                    return Ok(step);
                }
            }
            Ok(0)
        });
        let stopped = stopped.unwrap();
        assert!(stopped[0] >= 700 && stopped.iter().all(|step| *step == stopped[0]), "{stopped:?}");
    }
}
