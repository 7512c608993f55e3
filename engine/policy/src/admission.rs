//! Decides, before a request is queued, if it can be answered in time.
//!
//! The wait is predicted from the run times that also form the batches (Clockwork, OSDI 2020,
//! rejects hopeless work at the same point). A replica that is idle while nothing waits takes every
//! request. Only a run shows that a model has become fast again, so a wrong prediction never stops
//! the queue.

use crate::ablation::{Part, is_off};
use crate::run_time::{RunTime, SIGMAS};

/// Share of the best rate at which a batch is large enough, when larger ones are likely to be late.
const ENOUGH: f64 = 0.9;

/// The replicas of one class, as far as they matter to a request that arrives.
#[derive(Clone, Copy, Debug)]
pub struct Ahead<'a> {
    /// Rows of the largest batches that they are given.
    pub batch_rows_max: usize,
    /// Rows that their next batch should have by the time it starts.
    pub rows_expected: usize,
    /// Batches that they run side by side.
    pub slots: usize,
    /// Time until one of them can take a batch; infinite if that is not known.
    pub free_in_us: f64,
    /// Learned run times.
    pub run_time: &'a RunTime,
}

impl Ahead<'_> {
    fn rows_max(&self) -> usize {
        self.batch_rows_max.max(1)
    }

    /// Rows a microsecond in full batches; infinite while no run time is known.
    fn rows_per_us(&self) -> f64 {
        let full_us = self.run_time.estimate(self.rows_max()).map_or(0.0, |full| full.run_us);
        self.slots as f64 * self.rows_max() as f64 / full_us
    }

    /// The part of the time up to the deadline that is counted on. A margin may make the next
    /// batch a little smaller, but not so small that its rate suffers.
    fn counted_on(&self, rows_ahead: usize, margin: f64) -> f64 {
        if margin == 0.0 {
            return 1.0;
        }
        let rate = |rows: usize| self.run_time.predict_us(rows).map(|us| rows as f64 / us);
        let (own, best) = (rate(rows_ahead), rate(self.batch_rows_max));
        let is_full = rows_ahead >= self.batch_rows_max;
        let is_enough = is_full
            || is_off(Part::FillFirst)
            || own.zip(best).is_some_and(|(own, best)| own >= ENOUGH * best);
        if rows_ahead > 0 && is_enough { 1.0 - margin } else { 1.0 }
    }

    /// Time until the end of the request's own run, once the full batches before it have started.
    fn finish_in_us(&self, rows: usize, rows_ahead: usize) -> f64 {
        let rows_max = self.rows_max();
        // Behind a full batch the own one will be full too, by requests that arrive later.
        let own_rows = match rows_ahead / rows_max {
            0 => (rows_ahead + rows).max(self.rows_expected).clamp(1, rows_max.max(rows)),
            _ => rows_max.max(rows),
        };
        let own = self.run_time.estimate(own_rows);
        self.free_in_us + own.map_or(0.0, |own| own.upper_us(SIGMAS))
    }
}

/// Decision about a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Admission {
    /// It is queued.
    Admit,
    /// The response would be late.
    Reject {
        /// Time after which the same request would probably be admitted.
        retry_in_us: f64,
    },
}

/// Decides about a request of `rows` rows that must be answered within `left_us`, behind
/// `rows_ahead` rows that wait. `margin` is the part of that time that is not counted on.
///
/// Full batches before the request are shared among all replicas by their rates; its own run is
/// on the class that finishes it first.
pub fn admit<'a>(
    rows: usize,
    rows_ahead: usize,
    left_us: f64,
    margin: f64,
    classes: impl Iterator<Item = Ahead<'a>> + Clone,
) -> Admission {
    let with_slots = classes.clone().filter(|class| class.slots > 0);
    let fastest = with_slots.clone().max_by(|a, b| a.rows_per_us().total_cmp(&b.rows_per_us()));
    let counted_on = fastest.map_or(1.0, |class| class.counted_on(rows_ahead, margin));
    let full_rows = fastest.map_or(0, |class| rows_ahead / class.rows_max() * class.rows_max());
    let rate = with_slots.map(|class| class.rows_per_us()).sum::<f64>();
    let wait_us = if full_rows > 0 { full_rows as f64 / rate } else { 0.0 };
    let own_us = classes.map(|class| class.finish_in_us(rows, rows_ahead));
    let finish_in_us = wait_us + own_us.fold(f64::INFINITY, f64::min);
    let left_us = left_us * counted_on;
    // While all replicas start, nothing is known: the request waits for them.
    if finish_in_us <= left_us || finish_in_us.is_infinite() {
        return Admission::Admit;
    }
    Admission::Reject { retry_in_us: finish_in_us - left_us }
}

/// Predicts the rest of a run that began `elapsed_us` ago. An overdue run is expected to need as
/// long again as it is late.
pub fn remaining_us(predicted_us: f64, elapsed_us: f64) -> f64 {
    (predicted_us - elapsed_us).abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Run times of a millisecond, whatever the size.
    fn flat() -> RunTime {
        learned(|_| 1_000.0)
    }

    fn learned(run_us: impl Fn(usize) -> f64) -> RunTime {
        let mut run_time = RunTime::default();
        for rows in [1, 2, 4, 8, 64] {
            (0..300).for_each(|_| run_time.observe(rows, run_us(rows)));
        }
        run_time
    }

    fn class(run_time: &RunTime, free_in_us: f64) -> Ahead<'_> {
        Ahead { batch_rows_max: 8, rows_expected: 1, slots: 1, free_in_us, run_time }
    }

    fn is_admitted(rows_ahead: usize, left_us: f64, classes: &[Ahead<'_>]) -> bool {
        admit(1, rows_ahead, left_us, 0.0, classes.iter().copied()) == Admission::Admit
    }

    #[test]
    fn whole_batches_and_the_running_one_are_ahead() {
        let flat = flat();
        let one = [class(&flat, 500.0)];
        assert!(is_admitted(7, 1_600.0, &one) && !is_admitted(7, 1_400.0, &one));
        assert!(is_admitted(8, 2_600.0, &one) && !is_admitted(8, 2_400.0, &one));
        let two = [Ahead { slots: 2, ..class(&flat, 0.0) }];
        assert!(is_admitted(16, 2_100.0, &two) && !is_admitted(16, 1_900.0, &two));
    }

    #[test]
    fn classes_share_the_batches_ahead_by_their_rates() {
        let (fast, slow) = (flat(), learned(|_| 3_000.0));
        let both = [class(&slow, 0.0), class(&fast, 0.0)];
        // Four batches at a rate of 4/3 a millisecond, and a run of the faster one.
        assert!(is_admitted(32, 4_100.0, &both) && !is_admitted(32, 3_900.0, &both));
        let busy = [class(&slow, 0.0), class(&fast, 5_000.0)];
        assert!(is_admitted(0, 3_100.0, &busy) && !is_admitted(0, 2_900.0, &busy));
    }

    #[test]
    fn a_margin_takes_a_part_of_the_time_where_the_next_batch_is_large_enough() {
        let flat = flat();
        let decided = |rows_ahead, left_us, margin, run_time| {
            admit(1, rows_ahead, left_us, margin, [class(run_time, 500.0)].into_iter())
        };
        assert_eq!(decided(8, 3_500.0, 0.25, &flat), Admission::Admit);
        assert_ne!(decided(8, 3_300.0, 0.25, &flat), Admission::Admit);
        // Seven rows have 0.88 of the rate of eight.
        assert_eq!(decided(7, 1_600.0, 0.25, &flat), Admission::Admit);
        let by_row = learned(|rows| 100.0 * rows as f64);
        assert_eq!(decided(5, 1_300.0, 0.0, &by_row), Admission::Admit);
        assert_ne!(decided(5, 1_300.0, 0.25, &by_row), Admission::Admit);
    }

    #[test]
    fn a_rejection_says_when_to_try_again() {
        let rejected = admit(1, 80, 1_000.0, 0.0, [class(&flat(), 500.0)].into_iter());
        let Admission::Reject { retry_in_us } = rejected else { panic!("{rejected:?}") };
        assert!((10_400.0..10_700.0).contains(&retry_in_us), "{retry_in_us}");
    }

    #[test]
    fn without_a_prediction_everything_is_admitted() {
        let unknown = RunTime::default();
        assert!(is_admitted(9, 1.0, &[class(&unknown, 0.0)]));
        let starting = [Ahead { slots: 0, ..class(&unknown, f64::INFINITY) }];
        assert!(is_admitted(9, 1.0, &starting));
    }

    #[test]
    fn an_overdue_run_is_expected_to_stay_overdue() {
        assert_eq!(remaining_us(1_000.0, 300.0), 700.0);
        assert_eq!(remaining_us(1_000.0, 5_000.0), 4_000.0);
    }
}
