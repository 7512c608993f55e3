//! Whether a request can still be answered in time, before it is queued.
//!
//! What is ahead of it is predicted from the same model of run times that forms the batches
//! (Clockwork, OSDI 2020, refuses doomed work at the same point). A replica that is idle while
//! nothing waits takes every request: the only way to learn that a model has become fast again
//! is to run it, so a wrong prediction can never stop the queue.

use crate::priority::Demand;
use crate::run_time::RunTime;

/// Part of the best rate that a batch is large enough for, when larger ones are likely to be late.
const ENOUGH: f64 = 0.9;

/// What is ahead of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ahead {
    /// Rows that wait and will go before it.
    pub rows: usize,
    /// Rows of the batches that are made of them.
    pub batch_rows_max: usize,
    /// Replicas that run them, at least 1.
    pub replicas: usize,
    /// When the next of these will be free; `None` when one is idle and nothing waits.
    pub free_in_us: Option<f64>,
    /// Mean deviations added to a predicted run time.
    pub sigmas: f64,
    /// Share of the time up to the deadline that is not counted on.
    pub margin: f64,
}

impl Ahead {
    /// The part of the time up to the deadline that is counted on. AdmissionMargin may leave the next
    /// batch a little smaller, and not so small that its rate suffers.
    fn counted_on(&self, run_time: &RunTime) -> f64 {
        if self.margin == 0.0 {
            return 1.0;
        }
        let rate = |rows: usize| run_time.predict_us(rows).map(|us| rows as f64 / us);
        let (own, best) = (rate(self.rows), rate(self.batch_rows_max));
        let is_full = self.rows >= self.batch_rows_max;
        let is_enough = is_full || own.zip(best).is_some_and(|(own, best)| own >= ENOUGH * best);
        if self.rows > 0 && is_enough { 1.0 - self.margin } else { 1.0 }
    }
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Admission {
    /// It is queued.
    Admit,
    /// Its answer would come too late.
    Reject {
        /// When the same request would probably be admitted.
        retry_in_us: f64,
    },
}

/// Decides at the time `now_us`.
pub fn admit(demand: &Demand, ahead: &Ahead, run_time: &RunTime, now_us: u64) -> Admission {
    let (Some(deadline_us), Some(free_in_us)) = (demand.deadline_us, ahead.free_in_us) else {
        return Admission::Admit;
    };
    let left_us = deadline_us.saturating_sub(now_us) as f64 * ahead.counted_on(run_time);
    let finish_in_us = free_in_us + wait_and_run_us(demand.rows, ahead, run_time);
    if finish_in_us <= left_us {
        return Admission::Admit;
    }
    Admission::Reject { retry_in_us: finish_in_us - left_us }
}

/// From when a replica is free to the end of the request's own run: whole batches before it, and
/// the one that it is in.
fn wait_and_run_us(rows: usize, ahead: &Ahead, run_time: &RunTime) -> f64 {
    let batch_rows_max = ahead.batch_rows_max.max(1);
    let full_batches = ahead.rows / batch_rows_max;
    // BlockingBatch a full batch the own one will be full too, by those who come after.
    let own_rows = match full_batches {
        0 => (ahead.rows + rows).clamp(1, batch_rows_max.max(rows)),
        _ => batch_rows_max.max(rows),
    };
    let estimate = |rows| run_time.estimate(rows);
    let full_us = estimate(batch_rows_max).map_or(0.0, |e| e.run_us);
    let own_us = estimate(own_rows).map_or(0.0, |e| e.upper_us(ahead.sigmas));
    full_batches as f64 * full_us / ahead.replicas.max(1) as f64 + own_us
}

/// When a run that began `elapsed_us` ago should be over. One that is overdue is taken to need as
/// long again as it is late.
pub fn remaining_us(predicted_us: f64, elapsed_us: f64) -> f64 {
    (predicted_us - elapsed_us).abs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::priority::Priority;

    /// A millisecond whatever the size.
    fn flat() -> RunTime {
        let mut run_time = RunTime::default();
        for rows in [1, 8, 64] {
            (0..300).for_each(|_| run_time.observe(rows, 1_000.0));
        }
        run_time
    }

    fn demand(deadline_us: Option<u64>) -> Demand {
        Demand { rows: 1, queued_us: 0, deadline_us, priority: Priority::default() }
    }

    fn ahead(rows: usize, free_in_us: Option<f64>) -> Ahead {
        Ahead { rows, batch_rows_max: 8, replicas: 1, free_in_us, sigmas: 1.0, margin: 0.0 }
    }

    fn is_admitted(deadline_us: u64, ahead: &Ahead) -> bool {
        admit(&demand(Some(deadline_us)), ahead, &flat(), 0) == Admission::Admit
    }

    #[test]
    fn whole_batches_and_the_running_one_are_ahead() {
        assert!(is_admitted(1_600, &ahead(7, Some(500.0))));
        assert!(!is_admitted(1_400, &ahead(7, Some(500.0))));
        assert!(is_admitted(2_600, &ahead(8, Some(500.0))));
        assert!(!is_admitted(2_400, &ahead(8, Some(500.0))));
        let two = Ahead { replicas: 2, ..ahead(16, Some(0.0)) };
        assert!(is_admitted(2_100, &two) && !is_admitted(1_900, &two));
    }

    #[test]
    fn the_margin_takes_a_part_of_the_time_where_the_next_batch_is_large_enough() {
        let behind = Ahead { margin: 0.25, ..ahead(8, Some(500.0)) };
        assert!(is_admitted(3_500, &behind) && !is_admitted(3_300, &behind));
        // Seven rows have 0.88 of the rate of eight.
        let inside = Ahead { margin: 0.25, ..ahead(7, Some(500.0)) };
        assert!(is_admitted(1_600, &inside));
        let mut by_row = RunTime::default();
        for rows in [1, 2, 4, 8_u32] {
            (0..300).for_each(|_| by_row.observe(rows as usize, 100.0 * f64::from(rows)));
        }
        let decided = |margin| {
            let ahead = Ahead { margin, ..ahead(5, Some(500.0)) };
            admit(&demand(Some(1_300)), &ahead, &by_row, 0)
        };
        assert_eq!(decided(0.0), Admission::Admit);
        assert!(matches!(decided(0.25), Admission::Reject { .. }));
    }

    #[test]
    fn a_refusal_says_when_to_come_again() {
        let rejected = admit(&demand(Some(2_000)), &ahead(80, Some(500.0)), &flat(), 1_000);
        let Admission::Reject { retry_in_us } = rejected else { panic!("{rejected:?}") };
        assert!((10_400.0..10_700.0).contains(&retry_in_us), "{retry_in_us}");
    }

    #[test]
    fn an_idle_replica_takes_what_its_model_says_is_hopeless() {
        assert!(is_admitted(1, &ahead(0, None)));
    }

    #[test]
    fn without_a_deadline_or_a_prediction_everything_is_admitted() {
        assert_eq!(admit(&demand(None), &ahead(1 << 20, Some(1e9)), &flat(), 0), Admission::Admit);
        let unknown = RunTime::default();
        let decided = admit(&demand(Some(1)), &ahead(9, Some(0.0)), &unknown, 0);
        assert_eq!(decided, Admission::Admit);
    }

    #[test]
    fn a_run_that_is_overdue_is_expected_to_stay_so() {
        assert_eq!(remaining_us(1_000.0, 300.0), 700.0);
        assert_eq!(remaining_us(1_000.0, 5_000.0), 4_000.0);
    }
}
