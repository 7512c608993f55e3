//! Outcome of a simulation.

use super::request::Request;
use crate::scheduler::Rejection;
use std::collections::BTreeMap;

/// Length of the intervals that an outcome counts by itself.
pub const INTERVAL_US: u64 = 100_000;

/// Outcomes of all requests.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// All of them.
    pub total: Tally,
    /// Apart by kind, in the order of the scenario.
    pub kinds: Vec<Tally>,
    /// Apart by time, one for each [`INTERVAL_US`].
    pub intervals: Vec<Interval>,
    /// Number of batches by their rows.
    pub batches: BTreeMap<usize, u64>,
    /// Most requests that waited at once.
    pub waiting_max: usize,
    /// Time that all replicas together spent running.
    pub busy_us: u64,
    /// Replicas.
    pub replicas: usize,
    /// For how long requests came.
    pub duration_us: u64,
    /// Time of the last response.
    pub end_us: u64,
}

/// Requests counted by what became of them: each is in exactly one of the counts but the first
/// and `good`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// All.
    pub arrived: u64,
    /// Answered while their callers were there.
    pub answered: u64,
    /// Answered requests within their deadlines, or without one.
    pub good: u64,
    /// Told that their run had failed.
    pub failed: u64,
    /// Not taken in: as many waited as may.
    pub rejected_full: u64,
    /// Not taken in: the answer would have come too late.
    pub rejected_overloaded: u64,
    /// Rejected, as there was no replica.
    pub rejected_no_replica: u64,
    /// Requests that expired in the queue.
    pub expired: u64,
    /// Their callers had left when it was their turn.
    pub left: u64,
    /// Latencies of the answered requests, sorted at the end.
    pub latencies_us: Vec<u64>,
    /// Time in the queue of each expired request, sorted at the end.
    pub expired_after_us: Vec<u64>,
}

/// Requests of a short time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interval {
    /// Requests that arrived in it.
    pub arrived: u64,
    /// Requests that were answered in it.
    pub answered: u64,
    /// Answered requests within their deadlines.
    pub good: u64,
    /// Requests that arrived in it and were answered within their deadlines, then or later.
    pub good_arrived: u64,
}

impl Tally {
    /// The latency that this part of the answered did not exceed; 0 without any.
    pub fn latency_us(&self, quantile: f64) -> u64 {
        at_quantile(&self.latencies_us, quantile)
    }

    /// Time in the queue that this share of the expired did not exceed; 0 without any.
    pub fn expired_after_us(&self, quantile: f64) -> u64 {
        at_quantile(&self.expired_after_us, quantile)
    }

    /// The good ones' part of all; 1 without any.
    pub fn good_share(&self) -> f64 {
        if self.arrived == 0 { 1.0 } else { self.good as f64 / self.arrived as f64 }
    }

    fn sort(&mut self) {
        self.latencies_us.sort_unstable();
        self.expired_after_us.sort_unstable();
    }
}

/// The nearest rank.
fn at_quantile(sorted: &[u64], quantile: f64) -> u64 {
    let rank = (quantile * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or(0)
}

impl Outcome {
    pub(super) fn new(kinds: usize, replicas: usize, duration_us: u64) -> Self {
        let kinds = vec![Tally::default(); kinds];
        Self { kinds, replicas, duration_us, end_us: duration_us, ..Self::default() }
    }

    /// Requests a second that were answered within their deadlines.
    pub fn goodput_per_s(&self) -> f64 {
        1e6 * self.total.good as f64 / self.duration_us.max(1) as f64
    }

    /// The same between two times, to whole intervals.
    pub fn goodput_between_per_s(&self, from_us: u64, to_us: u64) -> f64 {
        let (from, to) = (from_us / INTERVAL_US, to_us / INTERVAL_US);
        let among =
            self.intervals.iter().skip(from as usize).take(to.saturating_sub(from) as usize);
        let good: u64 = among.map(|interval| interval.good).sum();
        1e6 * good as f64 / (to.saturating_sub(from) * INTERVAL_US).max(1) as f64
    }

    /// Part of the replicas' time that was spent running.
    pub fn utilization(&self) -> f64 {
        self.busy_us as f64 / (self.replicas as f64 * self.end_us.max(1) as f64)
    }

    /// Rows of a batch on average; 0 without any.
    pub fn mean_batch_rows(&self) -> f64 {
        let count: u64 = self.batches.values().sum();
        let rows: f64 = self.batches.iter().map(|(&rows, &count)| rows as f64 * count as f64).sum();
        if count == 0 { 0.0 } else { rows / count as f64 }
    }

    pub(super) fn arrived(&mut self, request: &Request, rejected: Option<Rejection>, now_us: u64) {
        self.interval(now_us).arrived += 1;
        self.count(request, |tally| {
            tally.arrived += 1;
            match rejected {
                None => {}
                Some(Rejection::Full) => tally.rejected_full += 1,
                Some(Rejection::Overloaded { .. }) => tally.rejected_overloaded += 1,
                Some(Rejection::NoReplica) => tally.rejected_no_replica += 1,
            }
        });
    }

    pub(super) fn expired(&mut self, request: &Request, now_us: u64) {
        self.end_us = self.end_us.max(now_us);
        self.count(request, |tally| {
            if request.is_cancelled(now_us) {
                tally.left += 1;
                return;
            }
            tally.expired += 1;
            tally.expired_after_us.push(now_us - request.arrived_us);
        });
    }

    pub(super) fn started(&mut self, rows: usize) {
        *self.batches.entry(rows).or_default() += 1;
    }

    /// Counts a response at a time.
    pub(super) fn finished(&mut self, request: &Request, has_failed: bool, now_us: u64) {
        self.end_us = self.end_us.max(now_us);
        let is_good = request.due_us.is_none_or(|due_us| now_us <= due_us);
        let is_answered = !has_failed && !request.is_cancelled(now_us);
        if is_answered {
            self.interval(request.arrived_us).good_arrived += u64::from(is_good);
            let interval = self.interval(now_us);
            interval.answered += 1;
            interval.good += u64::from(is_good);
        }
        self.count(request, |tally| {
            if is_answered {
                tally.answered += 1;
                tally.good += u64::from(is_good);
                tally.latencies_us.push(now_us - request.arrived_us);
            } else if request.is_cancelled(now_us) {
                tally.left += 1;
            } else {
                tally.failed += 1;
            }
        });
    }

    pub(super) fn close(mut self) -> Self {
        self.total.sort();
        self.kinds.iter_mut().for_each(Tally::sort);
        self
    }

    fn count(&mut self, request: &Request, count: impl Fn(&mut Tally)) {
        count(&mut self.total);
        count(&mut self.kinds[request.kind]);
    }

    fn interval(&mut self, now_us: u64) -> &mut Interval {
        let index = (now_us / INTERVAL_US) as usize;
        if index >= self.intervals.len() {
            self.intervals.resize(index + 1, Interval::default());
        }
        &mut self.intervals[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_nearest_rank() {
        let tally = Tally { latencies_us: (1..=200).collect(), ..Tally::default() };
        let found = [0.0, 0.5, 0.99, 0.999, 1.0].map(|quantile| tally.latency_us(quantile));
        assert_eq!(found, [1, 100, 198, 200, 200]);
        assert_eq!(Tally::default().latency_us(0.99), 0);
    }

    #[test]
    fn goodput_is_counted_apart_by_time() {
        let interval = |good| Interval { good, ..Interval::default() };
        let intervals = [1, 2, 4, 8].map(interval).to_vec();
        let outcome = Outcome { intervals, ..Outcome::default() };
        assert_eq!(outcome.goodput_between_per_s(100_000, 300_000), 30.0);
        assert_eq!(outcome.goodput_between_per_s(300_000, 500_000), 40.0);
        assert_eq!(outcome.goodput_between_per_s(300_000, 200_000), 0.0);
    }
}
