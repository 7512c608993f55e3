//! Statistics of one version of a model: counts and times since it was loaded.

use super::histogram::{Histogram, Snapshot, Unit};
use super::log_limiter::LogLimiter;
use super::slowest::SlowestRequests;
use crate::error::{Reason, ShedReason};
use crate::queue::Entry;
use crate::request::Stages;
use crate::request_record::{Outcome, RequestRecord, nanos};
use crate::stage::Stage;
use exemplars::Exemplars;
pub use exemplars::POWERS as SECONDS_POWERS;
pub use sizes::BatchStatistics;
use sizes::Sizes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

mod exemplars;
mod sizes;

/// A count with its total time.
#[derive(Debug, Default)]
pub struct Timed {
    count: AtomicU64,
    ns: AtomicU64,
}

impl Timed {
    fn add(&self, count: usize, time: Duration) {
        self.count.fetch_add(count as u64, Relaxed);
        self.ns.fetch_add(nanos(time), Relaxed);
    }

    /// Number of events.
    pub fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// Total time in nanoseconds.
    pub fn ns(&self) -> u64 {
        self.ns.load(Relaxed)
    }
}

/// All statistics of one version. Durations are sums over requests, as in Triton.
pub struct Statistics {
    /// Answered requests, with the time from decoded inputs to outputs.
    pub success: Timed,
    /// Requests that got no response, with their whole time.
    pub fail: Timed,
    /// Time in the queue.
    pub queue: Timed,
    /// Time of gathering inputs.
    pub compute_input: Timed,
    /// Time of running the model.
    pub compute_infer: Timed,
    /// Time of splitting outputs among the requests of a batch.
    pub compute_output: Timed,
    /// Requests answered from the cache or by an identical request's run, with the lookup time.
    pub cache_hit: Timed,
    /// Cache misses, with the time of the lookup and of the insertion.
    pub cache_miss: Timed,
    rows: AtomicU64,
    runs: AtomicU64,
    cancelled: AtomicU64,
    last_run_ms: AtomicU64,
    failures: [AtomicU64; Reason::ALL.len()],
    shed: [AtomicU64; ShedReason::ALL.len()],
    missed: AtomicU64,
    batches: Sizes,
    batch_rows: Histogram,
    stages: [Histogram; Stage::ALL.len()],
    total: Histogram,
    exemplars: Exemplars,
    slowest: SlowestRequests,
    shed_limiters: [LogLimiter; ShedReason::ALL.len()],
    failure_limiters: [LogLimiter; Reason::ALL.len()],
}

impl Default for Statistics {
    fn default() -> Self {
        Self {
            success: Timed::default(),
            fail: Timed::default(),
            queue: Timed::default(),
            compute_input: Timed::default(),
            compute_infer: Timed::default(),
            compute_output: Timed::default(),
            cache_hit: Timed::default(),
            cache_miss: Timed::default(),
            rows: AtomicU64::new(0),
            runs: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
            last_run_ms: AtomicU64::new(0),
            failures: Default::default(),
            shed: Default::default(),
            missed: AtomicU64::new(0),
            batches: Sizes::default(),
            batch_rows: Histogram::new(Unit::Count),
            stages: Stage::ALL.map(|_| Histogram::new(Unit::Seconds)),
            total: Histogram::new(Unit::Seconds),
            exemplars: Exemplars::default(),
            slowest: SlowestRequests::default(),
            shed_limiters: Default::default(),
            failure_limiters: Default::default(),
        }
    }
}

impl Statistics {
    /// Counts a run and its requests, which may still be left without a response.
    pub(crate) fn record_batch(&self, stages: &Stages, entries: &[Entry]) {
        let members = entries.len();
        let in_queue: Duration = entries.iter().map(|e| stages.batched - e.queued).sum();
        let input = stages.gathered - stages.batched;
        let infer = stages.executed - stages.gathered;
        let output = stages.split - stages.executed;
        let times = u32::try_from(members).unwrap_or(u32::MAX);
        self.queue.add(members, in_queue);
        self.compute_input.add(members, input * times);
        self.compute_infer.add(members, infer * times);
        self.compute_output.add(members, output * times);
        self.rows.fetch_add(stages.batch_rows() as u64, Relaxed);
        self.runs.fetch_add(1, Relaxed);
        self.last_run_ms.store(now_ms(), Relaxed);
        self.batch_rows.record(stages.batch_rows() as u64);
        self.batches.record(stages.batch_rows(), [input, infer, output].map(nanos));
    }

    /// Counts a request that gets its outputs without its own run.
    pub(crate) fn record_hit(&self, looked_up: Duration, stages: &Stages) {
        self.cache_hit.add(1, looked_up);
        self.queue.add(1, stages.queue());
    }

    /// Counts a cache miss.
    pub(crate) fn record_miss(&self, looked_up: Duration) {
        self.cache_miss.add(1, looked_up);
    }

    /// Adds the time of inserting a response into the cache.
    pub(crate) fn record_insertion(&self, time: Duration) {
        self.cache_miss.add(0, time);
    }

    /// Counts a run that was cancelled.
    pub(crate) fn record_cancelled(&self) {
        self.cancelled.fetch_add(1, Relaxed);
    }

    /// Counts a request that got no response.
    pub fn record_failure(&self, reason: Reason, time: Duration) {
        self.fail.add(1, time);
        self.failures[reason as usize].fetch_add(1, Relaxed);
    }

    /// Counts a request that was shed, in addition to its failure.
    pub fn record_shed(&self, reason: ShedReason) {
        self.shed[reason as usize].fetch_add(1, Relaxed);
    }

    /// Counts an answered request with its time; `missed` if it was later than its objective.
    pub fn record_answer(&self, missed: bool, time: Duration) {
        self.success.add(1, time);
        if missed {
            self.missed.fetch_add(1, Relaxed);
        }
    }

    /// Records the stage times of a finished request. Keeps the request for a while if it was slow or
    /// failed.
    pub fn record(&self, record: &RequestRecord) {
        if record.outcome.is_answered() {
            for (stage, histogram) in Stage::ALL.into_iter().zip(&self.stages) {
                if let Some(ns) = record.ends.stage_ns(stage) {
                    histogram.record(ns);
                }
            }
            self.total.record(record.total_us().saturating_mul(1000));
        }
        if let Some(kept) = self.slowest.offer(record) {
            self.exemplars.keep(&kept);
        }
    }

    /// Rows of all runs.
    pub fn rows(&self) -> u64 {
        self.rows.load(Relaxed)
    }

    /// Runs, each of one batch.
    pub fn runs(&self) -> u64 {
        self.runs.load(Relaxed)
    }

    /// Runs that were cancelled because all callers left. [`Self::runs`] does not include them.
    pub fn cancelled(&self) -> u64 {
        self.cancelled.load(Relaxed)
    }

    /// End of the last run in milliseconds since 1970; 0 if there was none.
    pub fn last_run_ms(&self) -> u64 {
        self.last_run_ms.load(Relaxed)
    }

    /// Requests that failed for this reason.
    pub fn failures(&self, reason: Reason) -> u64 {
        self.failures[reason as usize].load(Relaxed)
    }

    /// Requests that were shed for this reason.
    pub fn shed(&self, reason: ShedReason) -> u64 {
        self.shed[reason as usize].load(Relaxed)
    }

    /// Runs by their number of rows, for a limited number of sizes.
    pub fn batches(&self) -> BTreeMap<usize, BatchStatistics> {
        self.batches.all()
    }

    /// Histogram of the rows of runs.
    pub fn batch_rows(&self) -> Snapshot {
        self.batch_rows.snapshot()
    }

    /// Histogram of a stage's time for answered requests.
    pub fn stage(&self, stage: Stage) -> Snapshot {
        self.stages[stage as usize].snapshot()
    }

    /// Histogram of the total time of answered requests.
    pub fn total(&self) -> Snapshot {
        self.total.snapshot()
    }

    /// Requests by outcome, in the order of [`Outcome::NAMES`].
    pub fn outcomes(&self) -> [u64; Outcome::NAMES.len()] {
        let shed: u64 = ShedReason::ALL.iter().map(|&reason| self.shed(reason)).sum();
        let all: u64 = Reason::ALL.iter().map(|&reason| self.failures(reason)).sum();
        // Read first, as a request is counted as answered before it is as missed.
        let missed = self.missed.load(Relaxed);
        [self.success.count().saturating_sub(missed), missed, shed, all.saturating_sub(shed)]
    }

    /// Exemplar: the last kept request whose stage time, or total time if `stage` is `None`, is
    /// between `2^(power - 1)` and `2^power` seconds.
    pub fn exemplar(&self, stage: Option<Stage>, power: i32) -> Option<Arc<RequestRecord>> {
        self.exemplars.get(stage, power)
    }

    /// Limiter of log lines about requests with this outcome.
    pub fn log_limiter(&self, outcome: Outcome) -> Option<&LogLimiter> {
        match outcome {
            Outcome::Answered | Outcome::Missed => None,
            Outcome::Shed(reason) => Some(&self.shed_limiters[reason as usize]),
            Outcome::Failed(reason) => Some(&self.failure_limiters[reason as usize]),
        }
    }

    /// The slowest requests of the last minutes, and a sample of failed ones.
    pub fn slowest(&self) -> &SlowestRequests {
        &self.slowest
    }
}

fn now_ms() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}
