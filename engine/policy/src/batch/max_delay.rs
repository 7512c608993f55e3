//! MaxDelay batching (Clipper, NSDI 2017, section 4.3.2): another policy's batches, started when
//! they are full or the most urgent request has waited for a while.

use super::{BatchPolicy, Decision, FinishedRun, QueueView};
use crate::run_time::RunTime;

/// Policy with a longest delay before its batches.
pub struct MaxDelay {
    policy: Box<dyn BatchPolicy>,
    delay_max_us: u64,
}

impl MaxDelay {
    /// Waits up to `delay_max_us` for a full batch of `policy`'s.
    pub fn new(policy: Box<dyn BatchPolicy>, delay_max_us: u64) -> Self {
        Self { policy, delay_max_us }
    }
}

impl BatchPolicy for MaxDelay {
    fn decide(&mut self, queue: &QueueView, run_time: &RunTime, now_us: u64) -> Decision {
        let until_us = queue.queued_us.saturating_add(self.delay_max_us);
        if queue.rows_waiting < self.policy.rows_max() && now_us < until_us {
            return Decision::Wait { until_us };
        }
        self.policy.decide(queue, run_time, now_us)
    }

    fn set_replicas(&mut self, replicas: usize) {
        self.policy.set_replicas(replicas);
    }

    fn finished(&mut self, run: &FinishedRun, run_time: &RunTime, now_us: u64) {
        self.policy.finished(run, run_time, now_us);
    }

    fn rows_max(&self) -> usize {
        self.policy.rows_max()
    }

    fn rows_expected(&self) -> usize {
        self.policy.rows_expected()
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixed::Fixed;
    use super::*;

    #[test]
    fn waits_for_a_full_batch_but_not_for_long() {
        let mut policy = MaxDelay::new(Box::new(Fixed::new(8, 0, &[])), 500);
        let queue = |rows_waiting| QueueView { rows_waiting, queued_us: 100, deadline_us: None };
        let mut decide = |rows, now_us| policy.decide(&queue(rows), &RunTime::default(), now_us);
        assert_eq!(decide(3, 200), Decision::Wait { until_us: 600 });
        assert_eq!(decide(8, 200), Decision::Run { rows_max: 8 });
        assert_eq!(decide(3, 600), Decision::Run { rows_max: 8 });
    }
}
