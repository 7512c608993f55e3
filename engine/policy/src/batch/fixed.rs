//! A maximum size, preferred sizes and a maximum delay, all set by hand: the meaning of Triton's
//! `dynamic_batching` fields.

use super::{BatchPolicy, Decision, QueueView};
use crate::run_time::RunTime;

/// The policy `fixed`. With no delay, an idle replica starts at once with what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fixed {
    rows_max: usize,
    delay_max_us: u64,
    preferred_rows: Vec<usize>,
}

impl Fixed {
    /// Makes batches of at most `rows_max` rows; 0 counts as 1. They start when the most urgent
    /// request has waited `delay_max_us`, or when a preferred size, else the largest, is filled.
    pub fn new(rows_max: usize, delay_max_us: u64, preferred_rows: &[usize]) -> Self {
        let rows_max = rows_max.max(1);
        let mut preferred: Vec<usize> =
            preferred_rows.iter().copied().filter(|rows| (1..=rows_max).contains(rows)).collect();
        preferred.sort_unstable();
        Self { rows_max, delay_max_us, preferred_rows: preferred }
    }

    /// The largest preferred size that the waiting rows can fill.
    fn preferred_now(&self, rows_waiting: usize) -> Option<usize> {
        self.preferred_rows.iter().rev().copied().find(|&rows| rows <= rows_waiting)
    }
}

impl BatchPolicy for Fixed {
    fn decide(&mut self, queue: &QueueView, _run_time: &RunTime, now_us: u64) -> Decision {
        let full = Decision::Run { rows_max: self.rows_max };
        if queue.rows_waiting >= self.rows_max {
            return full;
        }
        if let Some(rows_max) = self.preferred_now(queue.rows_waiting) {
            return Decision::Run { rows_max };
        }
        let until_us = queue.queued_us.saturating_add(self.delay_max_us);
        if now_us >= until_us { full } else { Decision::Wait { until_us } }
    }

    fn rows_max(&self) -> usize {
        self.rows_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn queue(rows_waiting: usize, queued_us: u64) -> QueueView {
        QueueView { rows_waiting, queued_us, deadline_us: None }
    }

    fn decide(policy: &mut Fixed, queue: &QueueView, now_us: u64) -> Decision {
        policy.decide(queue, &RunTime::default(), now_us)
    }

    #[test]
    fn without_delay_runs_at_once_with_what_is_there() {
        let mut policy = Fixed::new(64, 0, &[]);
        assert_eq!(decide(&mut policy, &queue(1, 100), 100), Decision::Run { rows_max: 64 });
        assert_eq!(decide(&mut policy, &queue(500, 100), 100), Decision::Run { rows_max: 64 });
    }

    #[test]
    fn waits_no_longer_than_the_delay_of_the_oldest() {
        let mut policy = Fixed::new(8, 1_000, &[]);
        assert_eq!(decide(&mut policy, &queue(3, 100), 600), Decision::Wait { until_us: 1_100 });
        assert_eq!(decide(&mut policy, &queue(3, 100), 1_100), Decision::Run { rows_max: 8 });
        assert_eq!(decide(&mut policy, &queue(8, 100), 101), Decision::Run { rows_max: 8 });
    }

    #[test]
    fn a_preferred_size_starts_early_and_limits_the_batch() {
        let mut policy = Fixed::new(16, 1_000, &[8, 4]);
        assert_eq!(decide(&mut policy, &queue(3, 0), 10), Decision::Wait { until_us: 1_000 });
        assert_eq!(decide(&mut policy, &queue(5, 0), 10), Decision::Run { rows_max: 4 });
        assert_eq!(decide(&mut policy, &queue(11, 0), 10), Decision::Run { rows_max: 8 });
        assert_eq!(decide(&mut policy, &queue(16, 0), 10), Decision::Run { rows_max: 16 });
        assert_eq!(decide(&mut policy, &queue(3, 0), 1_000), Decision::Run { rows_max: 16 });
    }

    #[test]
    fn sizes_out_of_range_are_ignored() {
        let mut policy = Fixed::new(0, 0, &[0, 7]);
        assert_eq!(decide(&mut policy, &queue(7, 0), 0), Decision::Run { rows_max: 1 });
    }

    proptest! {
        #[test]
        fn a_batch_is_within_its_limit_and_no_wait_is_longer_than_the_delay(
            (rows_max, delay_us) in (0..70_usize, 0..3_000_u64),
            preferred in prop::collection::vec(0..80_usize, 0..4),
            (rows_waiting, queued_us, waited_us) in (1..200_usize, 0..5_000_u64, 0..5_000_u64),
        ) {
            let mut policy = Fixed::new(rows_max, delay_us, &preferred);
            let now_us = queued_us + waited_us;
            match decide(&mut policy, &queue(rows_waiting, queued_us), now_us) {
                Decision::Run { rows_max: rows } => {
                    prop_assert!((1..=rows_max.max(1)).contains(&rows));
                }
                Decision::Wait { until_us } => {
                    prop_assert!(waited_us < delay_us && rows_waiting < rows_max);
                    prop_assert!(until_us > now_us && until_us <= queued_us + delay_us);
                }
                Decision::Expire { .. } => prop_assert!(false, "no request expires"),
            }
        }
    }
}
