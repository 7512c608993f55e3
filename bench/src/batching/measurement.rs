//! Measurement of the requests in a window.

use super::drive::{Outcome, Run};
use skysail_loadtest::arrival::Window;
use skysail_loadtest::quantiles::{median, nearest_rank};
use std::time::Duration;

/// Utilization above which the load generator is the limit.
const UTILIZATION_MAX: f64 = 0.95;

/// p99 of the send delay, relative to the objective, above which it is the limit, too.
const SEND_DELAY_SHARE_MAX: f64 = 0.2;

/// Least share of the offered requests in time for a rate to be sustained.
const SUSTAINED_MIN: f64 = 0.9;

/// Figures of a measurement.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Measurement {
    /// Scheduled requests a second.
    pub(super) offered_per_s: f64,
    /// Answered requests a second, in time or not.
    pub(super) answered_per_s: f64,
    /// Requests a second answered within the objective.
    pub(super) goodput_per_s: f64,
    /// 99th percentile of the latency; infinite if no request was answered.
    pub(super) p99_ms: f64,
    /// True if the p99 is within the objective.
    pub(super) meets_objective: bool,
    /// Requests a second rejected at admission.
    pub(super) rejected_per_s: f64,
    /// 99th percentile of the time to a rejection.
    pub(super) rejected_p99_ms: Option<f64>,
    /// Requests a second that expired in the queue.
    pub(super) expired_per_s: f64,
    /// 99th percentile of the time to their expiry.
    pub(super) expired_p99_ms: Option<f64>,
    /// Mean rows of a batch.
    pub(super) batch_rows: f64,
    /// Utilization of the generator's thread.
    pub(super) utilization: f64,
    /// 99th percentile of the generator's delay.
    pub(super) send_delay_p99_ms: f64,
    /// True if the generator was the limit. Its work includes inline runs.
    pub(super) is_limit: bool,
}

impl Measurement {
    /// Counts the requests scheduled in the window.
    pub(super) fn from_run(run: &Run, window: Window, objective: Duration) -> Self {
        let counted = || run.completions.iter().filter(|completion| window.counts(completion.at));
        let latencies = |is_it: fn(Outcome) -> bool| -> Vec<Duration> {
            counted()
                .filter(|completion| is_it(completion.outcome))
                .map(|completion| completion.latency)
                .collect()
        };
        let mut answered = latencies(Outcome::is_answered);
        let mut rejected = latencies(|outcome| outcome == Outcome::Rejected);
        let mut expired = latencies(|outcome| outcome == Outcome::Expired);
        let p99 = nearest_rank(&mut answered, 0.99);
        let batches: f64 = counted().map(|completion| share_of_batch(completion.outcome)).sum();
        let per_s = |count: usize| count as f64 / window.duration.as_secs_f64();
        let in_time = answered.iter().filter(|latency| **latency <= objective).count();
        let utilization = 1.0 - run.idle.as_secs_f64() / run.elapsed.as_secs_f64().max(1e-9);
        let send_delay = nearest_rank(&mut run.send_delays.clone(), 0.99).unwrap_or_default();
        Self {
            offered_per_s: per_s(counted().count()),
            answered_per_s: per_s(answered.len()),
            goodput_per_s: per_s(in_time),
            p99_ms: p99.map_or(f64::INFINITY, ms),
            meets_objective: p99.is_some_and(|p99| p99 <= objective),
            rejected_per_s: per_s(rejected.len()),
            rejected_p99_ms: nearest_rank(&mut rejected, 0.99).map(ms),
            expired_per_s: per_s(expired.len()),
            expired_p99_ms: nearest_rank(&mut expired, 0.99).map(ms),
            batch_rows: answered.len() as f64 / batches.max(f64::MIN_POSITIVE),
            utilization,
            send_delay_p99_ms: ms(send_delay),
            is_limit: utilization > UTILIZATION_MAX
                || send_delay > objective.mul_f64(SEND_DELAY_SHARE_MAX),
        }
    }

    /// Medians of several measurements. The generator was the limit if it was in any of them; the
    /// objective is met if it was in all.
    pub(super) fn middle(all: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(&all.iter().map(figure).collect::<Vec<_>>());
        let of_some = |figure: fn(&Self) -> Option<f64>| {
            let some: Vec<f64> = all.iter().filter_map(figure).collect();
            (!some.is_empty()).then(|| median(&some))
        };
        Self {
            offered_per_s: of(|measured| measured.offered_per_s),
            answered_per_s: of(|measured| measured.answered_per_s),
            goodput_per_s: of(|measured| measured.goodput_per_s),
            p99_ms: of(|measured| measured.p99_ms),
            meets_objective: all.iter().all(|measured| measured.meets_objective),
            rejected_per_s: of(|measured| measured.rejected_per_s),
            rejected_p99_ms: of_some(|measured| measured.rejected_p99_ms),
            expired_per_s: of(|measured| measured.expired_per_s),
            expired_p99_ms: of_some(|measured| measured.expired_p99_ms),
            batch_rows: of(|measured| measured.batch_rows),
            utilization: of(|measured| measured.utilization),
            send_delay_p99_ms: of(|measured| measured.send_delay_p99_ms),
            is_limit: all.iter().any(|measured| measured.is_limit),
        }
    }

    /// True if nearly all requests were answered in time.
    pub(super) fn is_sustained(&self) -> bool {
        self.goodput_per_s >= SUSTAINED_MIN * self.offered_per_s
    }

    /// Goodput, or 0 if the objective is missed.
    pub(super) fn score(&self) -> f64 {
        if self.meets_objective { self.goodput_per_s } else { 0.0 }
    }
}

/// Share of a request in its batch; the sum is the number of batches.
fn share_of_batch(outcome: Outcome) -> f64 {
    match outcome {
        Outcome::Answered { batch_rows } => 1.0 / batch_rows as f64,
        Outcome::Rejected | Outcome::Expired => 0.0,
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::super::drive::Completion;
    use super::*;

    const OBJECTIVE: Duration = Duration::from_millis(20);
    const SECOND: Duration = Duration::from_secs(1);

    fn ended(at_ms: u64, latency_ms: u64, outcome: Outcome) -> Completion {
        let (at, latency) = (Duration::from_millis(at_ms), Duration::from_millis(latency_ms));
        Completion { at, latency, outcome }
    }

    fn completion(at_ms: u64, latency_ms: u64, batch_rows: usize) -> Completion {
        ended(at_ms, latency_ms, Outcome::Answered { batch_rows })
    }

    fn measured(completions: Vec<Completion>) -> Measurement {
        let run = Run { completions, elapsed: SECOND, idle: SECOND / 2, ..Run::default() };
        let (warm_up, duration) = (Duration::from_millis(100), Duration::from_millis(500));
        Measurement::from_run(&run, Window { warm_up, duration }, OBJECTIVE)
    }

    #[test]
    fn only_responses_in_time_are_goodput_and_the_warm_up_does_not_count() {
        let measured = measured(vec![
            completion(50, 90, 1),
            completion(100, 10, 2),
            completion(101, 10, 2),
            completion(200, 30, 1),
            ended(300, 0, Outcome::Rejected),
        ]);
        assert_eq!(
            (measured.offered_per_s, measured.answered_per_s, measured.goodput_per_s),
            (8.0, 6.0, 4.0)
        );
        assert_eq!(
            (measured.p99_ms, measured.meets_objective, measured.score()),
            (30.0, false, 0.0)
        );
        assert_eq!((measured.batch_rows, measured.utilization), (1.5, 0.5));
    }

    #[test]
    fn rejected_and_expired_requests_are_counted_apart() {
        let measured = measured(vec![
            completion(200, 10, 1),
            ended(200, 1, Outcome::Rejected),
            ended(200, 2, Outcome::Rejected),
            ended(200, 18, Outcome::Expired),
            ended(50, 40, Outcome::Expired),
        ]);
        assert_eq!((measured.offered_per_s, measured.answered_per_s), (8.0, 2.0));
        assert_eq!((measured.rejected_per_s, measured.rejected_p99_ms), (4.0, Some(2.0)));
        assert_eq!((measured.expired_per_s, measured.expired_p99_ms), (2.0, Some(18.0)));
    }

    #[test]
    fn one_late_answer_in_a_hundred_is_allowed() {
        let mut completions: Vec<Completion> = (0..99).map(|_| completion(200, 20, 1)).collect();
        completions.push(completion(200, 50, 1));
        assert_eq!(measured(completions.clone()).score(), 198.0);
        completions.push(completion(200, 50, 1));
        assert_eq!(measured(completions).score(), 0.0);
    }

    #[test]
    fn without_responses_the_objective_is_missed() {
        let measured = measured(vec![ended(200, 0, Outcome::Rejected)]);
        assert_eq!(
            (measured.meets_objective, measured.p99_ms, measured.batch_rows),
            (false, f64::INFINITY, 0.0)
        );
    }
}
