//! What a measurement found, from the outcomes of its requests.

use super::drive::{Fate, Run};
use skysail_loadtest::arrival::Window;
use std::time::Duration;

/// A generator that is busier than this has nothing left to give...
const BUSY_MAX: f64 = 0.95;

/// ...and one that is late by this part of the objective, for one request in a hundred, spoils it.
const LAG_SHARE_MAX: f64 = 0.2;

/// Part of what is offered that must be answered in time for a server not to be saturated.
const KEPT_UP: f64 = 0.9;

/// What a measurement found.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// Requests a second that were meant to arrive.
    pub(super) offered_per_s: f64,
    /// Those that were answered, in time or not.
    pub(super) answered_per_s: f64,
    /// Those that were answered within the objective.
    pub(super) goodput_per_s: f64,
    /// 99 % of the answered had their answer within this many milliseconds; infinite when none
    /// was answered.
    pub(super) p99_ms: f64,
    /// Whether that is within the objective.
    pub(super) keeps: bool,
    /// Those that were turned away when they came.
    pub(super) refused_per_s: f64,
    /// 99 % of these knew it within this many milliseconds.
    pub(super) refused_p99_ms: Option<f64>,
    /// Those that were let in and not answered.
    pub(super) given_up_per_s: f64,
    /// 99 % of these knew it within this many milliseconds.
    pub(super) given_up_p99_ms: Option<f64>,
    /// Mean rows of the batches.
    pub(super) batch_rows: f64,
    /// Part of the time in which the generator's thread had work.
    pub(super) busy: f64,
    /// 99 % of the requests were sent no more than so many milliseconds late.
    pub(super) lag_p99_ms: f64,
    /// Whether it had more work than time, or was late. That includes the batches that it ran itself.
    pub(super) is_limit: bool,
}

impl Seen {
    /// Counts the requests that were meant to arrive in the window.
    pub(super) fn of(run: &Run, window: Window, objective: Duration) -> Self {
        let counted = || run.outcomes.iter().filter(|outcome| window.counts(outcome.at));
        let latencies = |is_it: fn(Fate) -> bool| -> Vec<Duration> {
            counted().filter(|outcome| is_it(outcome.fate)).map(|outcome| outcome.latency).collect()
        };
        let mut answered = latencies(Fate::is_answered);
        let mut refused = latencies(|fate| fate == Fate::Refused);
        let mut given_up = latencies(|fate| fate == Fate::GivenUp);
        let p99 = quantile(&mut answered, 0.99);
        let batches: f64 = counted().map(|outcome| share_of_batch(outcome.fate)).sum();
        let per_s = |count: usize| count as f64 / window.duration.as_secs_f64();
        let in_time = answered.iter().filter(|latency| **latency <= objective).count();
        let busy = 1.0 - run.idle.as_secs_f64() / run.elapsed.as_secs_f64().max(1e-9);
        let lag = quantile(&mut run.lags.clone(), 0.99).unwrap_or_default();
        Self {
            offered_per_s: per_s(counted().count()),
            answered_per_s: per_s(answered.len()),
            goodput_per_s: per_s(in_time),
            p99_ms: p99.map_or(f64::INFINITY, ms),
            keeps: p99.is_some_and(|p99| p99 <= objective),
            refused_per_s: per_s(refused.len()),
            refused_p99_ms: quantile(&mut refused, 0.99).map(ms),
            given_up_per_s: per_s(given_up.len()),
            given_up_p99_ms: quantile(&mut given_up, 0.99).map(ms),
            batch_rows: answered.len() as f64 / batches.max(f64::MIN_POSITIVE),
            busy,
            lag_p99_ms: ms(lag),
            is_limit: busy > BUSY_MAX || lag > objective.mul_f64(LAG_SHARE_MAX),
        }
    }

    /// The middle of each figure of several measurements; the generator was the limit if it was in
    /// any of them, and the objective is kept if it was in all.
    pub(super) fn middle(all: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(&all.iter().map(figure).collect::<Vec<_>>());
        let of_some = |figure: fn(&Self) -> Option<f64>| {
            let some: Vec<f64> = all.iter().filter_map(figure).collect();
            (!some.is_empty()).then(|| median(&some))
        };
        Self {
            offered_per_s: of(|seen| seen.offered_per_s),
            answered_per_s: of(|seen| seen.answered_per_s),
            goodput_per_s: of(|seen| seen.goodput_per_s),
            p99_ms: of(|seen| seen.p99_ms),
            keeps: all.iter().all(|seen| seen.keeps),
            refused_per_s: of(|seen| seen.refused_per_s),
            refused_p99_ms: of_some(|seen| seen.refused_p99_ms),
            given_up_per_s: of(|seen| seen.given_up_per_s),
            given_up_p99_ms: of_some(|seen| seen.given_up_p99_ms),
            batch_rows: of(|seen| seen.batch_rows),
            busy: of(|seen| seen.busy),
            lag_p99_ms: of(|seen| seen.lag_p99_ms),
            is_limit: all.iter().any(|seen| seen.is_limit),
        }
    }

    /// Whether nearly everything was answered in time.
    pub(super) fn keeps_up(&self) -> bool {
        self.goodput_per_s >= KEPT_UP * self.offered_per_s
    }

    /// The goodput as far as it counts: 0 when the objective is not kept.
    pub(super) fn score(&self) -> f64 {
        if self.keeps { self.goodput_per_s } else { 0.0 }
    }
}

/// A request's part of a batch; the sum is the number of batches.
fn share_of_batch(fate: Fate) -> f64 {
    match fate {
        Fate::Answered { batch_rows } => 1.0 / batch_rows as f64,
        Fate::Refused | Fate::GivenUp => 0.0,
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The value that such a part of all is at most; reorders them.
pub(super) fn quantile<T: Copy + Ord>(values: &mut [T], part: f64) -> Option<T> {
    let index = (values.len() as f64 * part).ceil() as usize;
    let index = index.clamp(1, values.len().max(1)) - 1;
    (index < values.len()).then(|| *values.select_nth_unstable(index).1)
}

/// The middle one of some figures; 0 of none.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 0 => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
        n => sorted[n / 2],
    }
}

#[cfg(test)]
mod tests {
    use super::super::drive::Outcome;
    use super::*;

    const OBJECTIVE: Duration = Duration::from_millis(20);
    const SECOND: Duration = Duration::from_secs(1);

    fn ended(at_ms: u64, latency_ms: u64, fate: Fate) -> Outcome {
        let (at, latency) = (Duration::from_millis(at_ms), Duration::from_millis(latency_ms));
        Outcome { at, latency, fate }
    }

    fn outcome(at_ms: u64, latency_ms: u64, batch_rows: usize) -> Outcome {
        ended(at_ms, latency_ms, Fate::Answered { batch_rows })
    }

    fn seen(outcomes: Vec<Outcome>) -> Seen {
        let run = Run { outcomes, elapsed: SECOND, idle: SECOND / 2, ..Run::default() };
        let (warm_up, duration) = (Duration::from_millis(100), Duration::from_millis(500));
        Seen::of(&run, Window { warm_up, duration }, OBJECTIVE)
    }

    #[test]
    fn only_answers_in_time_are_goodput_and_the_warm_up_does_not_count() {
        let seen = seen(vec![
            outcome(50, 90, 1),
            outcome(100, 10, 2),
            outcome(101, 10, 2),
            outcome(200, 30, 1),
            ended(300, 0, Fate::Refused),
        ]);
        assert_eq!((seen.offered_per_s, seen.answered_per_s, seen.goodput_per_s), (8.0, 6.0, 4.0));
        assert_eq!((seen.p99_ms, seen.keeps, seen.score()), (30.0, false, 0.0));
        assert_eq!((seen.batch_rows, seen.busy), (1.5, 0.5));
    }

    #[test]
    fn the_refused_and_the_given_up_are_counted_apart() {
        let seen = seen(vec![
            outcome(200, 10, 1),
            ended(200, 1, Fate::Refused),
            ended(200, 2, Fate::Refused),
            ended(200, 18, Fate::GivenUp),
            ended(50, 40, Fate::GivenUp),
        ]);
        assert_eq!((seen.offered_per_s, seen.answered_per_s), (8.0, 2.0));
        assert_eq!((seen.refused_per_s, seen.refused_p99_ms), (4.0, Some(2.0)));
        assert_eq!((seen.given_up_per_s, seen.given_up_p99_ms), (2.0, Some(18.0)));
    }

    #[test]
    fn one_late_answer_in_a_hundred_is_allowed() {
        let mut outcomes: Vec<Outcome> = (0..99).map(|_| outcome(200, 20, 1)).collect();
        outcomes.push(outcome(200, 50, 1));
        assert_eq!(seen(outcomes.clone()).score(), 198.0);
        outcomes.push(outcome(200, 50, 1));
        assert_eq!(seen(outcomes).score(), 0.0);
    }

    #[test]
    fn who_answers_nothing_keeps_nothing() {
        let seen = seen(vec![ended(200, 0, Fate::Refused)]);
        assert_eq!((seen.keeps, seen.p99_ms, seen.batch_rows), (false, f64::INFINITY, 0.0));
    }

    #[test]
    fn quantiles_and_medians_of_few_values() {
        assert_eq!(quantile::<u32>(&mut [], 0.99), None);
        assert_eq!(quantile(&mut [3, 1, 2], 0.99), Some(3));
        assert_eq!(quantile(&mut [3, 1, 2], 0.0), Some(1));
        assert_eq!((median(&[]), median(&[3.0, 1.0, 2.0]), median(&[1.0, 2.0])), (0.0, 2.0, 1.5));
    }
}
