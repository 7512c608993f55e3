//! What one version of a model has done: counts and times since it was loaded.

use crate::error::{Reason, Refusal};
use crate::queue::Entry;
use crate::request::Stages;
use crate::stage::Stage;
use parking_lot::Mutex;
use prometheus::{Histogram, HistogramOpts};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Upper bounds of the stage histograms: 10 us to 10 s, three to a decade.
const STAGE_SECONDS: [f64; 19] = [
    0.000_01, 0.000_02, 0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05,
    0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0,
];

/// Batch sizes that are told apart. Callers choose the sizes of requests that run alone.
const BATCH_SIZES_MAX: usize = 1024;

/// How often, and how long together.
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

    /// How often.
    pub fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// How long together.
    pub fn ns(&self) -> u64 {
        self.ns.load(Relaxed)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Runs of one batch size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchStatistics {
    /// Runs.
    pub count: u64,
    /// Gathering inputs.
    pub input_ns: u64,
    /// Running the model.
    pub infer_ns: u64,
    /// Giving members their outputs.
    pub output_ns: u64,
}

/// All statistics of one version. Durations are sums over requests, as Triton counts them.
pub struct Statistics {
    /// Requests answered, from queue to own outputs.
    pub success: Timed,
    /// Requests not answered.
    pub fail: Timed,
    /// Time in the queue.
    pub queue: Timed,
    /// Gathering inputs.
    pub compute_input: Timed,
    /// Running the model.
    pub compute_infer: Timed,
    /// Giving members their outputs.
    pub compute_output: Timed,
    /// Requests answered from the cache or by another's run, and the time of finding that out.
    pub cache_hit: Timed,
    /// Requests that the cache had no answer for, and the time of looking and of keeping theirs.
    pub cache_miss: Timed,
    rows: AtomicU64,
    runs: AtomicU64,
    stopped: AtomicU64,
    last_run_ms: AtomicU64,
    failures: [AtomicU64; Reason::ALL.len()],
    refusals: [AtomicU64; Refusal::ALL.len()],
    batches: Mutex<BTreeMap<usize, BatchStatistics>>,
    stages: [Histogram; Stage::ALL.len()],
}

impl Statistics {
    /// Empty ones for this version.
    ///
    /// # Errors
    /// When the metrics library refuses the histograms' options.
    pub fn new(model: &str, version: u64) -> Result<Self, prometheus::Error> {
        let histogram = |stage: Stage| {
            let help = "Time that requests spent in each stage";
            let options = HistogramOpts::new("skysail_stage_duration_seconds", help)
                .const_label("model", model)
                .const_label("version", version.to_string())
                .const_label("stage", stage.name())
                .buckets(STAGE_SECONDS.to_vec());
            Histogram::with_opts(options)
        };
        let [accept, decode, admit, queue, batch, execute, respond] = Stage::ALL.map(histogram);
        Ok(Self {
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
            stopped: AtomicU64::new(0),
            last_run_ms: AtomicU64::new(0),
            failures: Default::default(),
            refusals: Default::default(),
            batches: Mutex::default(),
            stages: [accept?, decode?, admit?, queue?, batch?, execute?, respond?],
        })
    }

    /// Counts a run and its members.
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
        self.success.add(members, in_queue + (stages.split - stages.batched) * times);
        self.rows.fetch_add(stages.batch_rows as u64, Relaxed);
        self.runs.fetch_add(1, Relaxed);
        self.last_run_ms.store(now_ms(), Relaxed);
        let mut batches = self.batches.lock();
        if batches.len() >= BATCH_SIZES_MAX && !batches.contains_key(&stages.batch_rows) {
            return;
        }
        let batch = batches.entry(stages.batch_rows).or_default();
        batch.count += 1;
        batch.input_ns += nanos(input);
        batch.infer_ns += nanos(infer);
        batch.output_ns += nanos(output);
    }

    /// Counts a request that was answered without a run of its own.
    pub(crate) fn record_hit(&self, looked_up: Duration, stages: &Stages) {
        self.cache_hit.add(1, looked_up);
        self.queue.add(1, stages.queue());
        self.success.add(1, looked_up + stages.total());
    }

    /// Counts a request that the cache has no answer for.
    pub(crate) fn record_miss(&self, looked_up: Duration) {
        self.cache_miss.add(1, looked_up);
    }

    /// Adds the time of keeping an answer that was missed.
    pub(crate) fn record_keep(&self, time: Duration) {
        self.cache_miss.add(0, time);
    }

    /// Counts a run that was stopped.
    pub(crate) fn record_stopped(&self) {
        self.stopped.fetch_add(1, Relaxed);
    }

    /// Counts a request that got no answer.
    pub fn record_failure(&self, reason: Reason, time: Duration) {
        self.fail.add(1, time);
        self.failures[reason as usize].fetch_add(1, Relaxed);
    }

    /// Counts a request that was turned down, besides its failure.
    pub fn record_refusal(&self, refusal: Refusal) {
        self.refusals[refusal as usize].fetch_add(1, Relaxed);
    }

    /// Counts the time that one request spent in a stage.
    pub fn record_stage(&self, stage: Stage, time: Duration) {
        self.stages[stage as usize].observe(time.as_secs_f64());
    }

    /// Rows of all runs.
    pub fn rows(&self) -> u64 {
        self.rows.load(Relaxed)
    }

    /// Runs, each of a whole batch.
    pub fn runs(&self) -> u64 {
        self.runs.load(Relaxed)
    }

    /// Runs that were stopped because all their callers had left; they are not among the others.
    pub fn stopped(&self) -> u64 {
        self.stopped.load(Relaxed)
    }

    /// When the last run ended, in milliseconds since 1970; 0 for never.
    pub fn last_run_ms(&self) -> u64 {
        self.last_run_ms.load(Relaxed)
    }

    /// Requests that failed for this reason.
    pub fn failures(&self, reason: Reason) -> u64 {
        self.failures[reason as usize].load(Relaxed)
    }

    /// Requests that were turned down in this way.
    pub fn refusals(&self, refusal: Refusal) -> u64 {
        self.refusals[refusal as usize].load(Relaxed)
    }

    /// Runs by their number of rows, as far as there are not too many different ones.
    pub fn batches(&self) -> BTreeMap<usize, BatchStatistics> {
        self.batches.lock().clone()
    }

    /// The histograms of all stages.
    pub fn stage_histograms(&self) -> &[Histogram] {
        &self.stages
    }
}

fn now_ms() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn there_is_a_limit_to_the_batch_sizes_told_apart() {
        let statistics = Statistics::new("m", 1).unwrap();
        let now = Instant::now();
        let mut stages = Stages {
            queued: now,
            batched: now,
            gathered: now,
            executed: now + Duration::from_nanos(3),
            split: now + Duration::from_nanos(5),
            batch_rows: 0,
        };
        for batch_rows in (1..=BATCH_SIZES_MAX + 5).chain([1]) {
            stages.batch_rows = batch_rows;
            statistics.record_batch(&stages, &[]);
        }
        let batches = statistics.batches();
        assert_eq!(batches.len(), BATCH_SIZES_MAX);
        let twice = BatchStatistics { count: 2, input_ns: 0, infer_ns: 6, output_ns: 4 };
        assert_eq!(batches[&1], twice);
        assert_eq!(statistics.runs(), BATCH_SIZES_MAX as u64 + 6);
    }
}
