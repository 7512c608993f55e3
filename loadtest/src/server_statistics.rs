//! Statistics of the server itself: requests, runs, and run times by batch size. They are Triton's,
//! which other servers have too.

use crate::target::grpc::{client, status_failure};
use crate::target::http::get;
use crate::target::{Failure, PAGE_BYTES_MAX, Target};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use skysail_protocol::grpc::{
    InferBatchStatistics, ModelStatistics, ModelStatisticsRequest,
    StatisticDuration as GrpcDuration,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// Counters of one model at one moment, all requested versions together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    requests: Timed,
    failed: u64,
    queue: Timed,
    rows: u64,
    runs: u64,
    batches: BTreeMap<u64, Batch>,
}

/// Number of events with their total time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Timed {
    count: u64,
    ns: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Batch {
    runs: u64,
    input_ns: u64,
    run_ns: u64,
    output_ns: u64,
}

/// Difference of two readings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// Answered requests.
    pub requests: u64,
    /// Failed requests.
    pub failed: u64,
    /// Rows that ran.
    pub rows: u64,
    /// Runs, each of one batch.
    pub runs: u64,
    /// Mean time in the queue.
    pub queue_us_mean: Option<f64>,
    /// Mean time in the engine: queue, run, and splitting the results.
    pub request_us_mean: Option<f64>,
    /// Runs by their number of rows, the smallest first.
    pub batches: Vec<BatchSize>,
}

/// Runs of one batch size. Times are means of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BatchSize {
    /// Rows of each run.
    pub rows: u64,
    /// Number of runs.
    pub runs: u64,
    /// Time to gather the inputs.
    pub input_us: f64,
    /// Time to run the model.
    pub run_us: f64,
    /// Time to split the outputs.
    pub output_us: f64,
}

impl BatchSize {
    /// Time for which one run occupies a replica.
    pub fn total_us(&self) -> f64 {
        self.input_us + self.run_us + self.output_us
    }
}

impl Reading {
    /// Queries the server, over the target's own protocol.
    ///
    /// # Errors
    /// Fails if there is no response within `limit`, or no statistics.
    pub async fn read(target: &Target, limit: Duration) -> Result<Self, Failure> {
        target.query(limit, read_http(target), read_grpc(target)).await
    }

    /// Difference from an earlier reading. A model that was reloaded in between counts from there.
    pub fn since(&self, earlier: &Self) -> Statistics {
        let before = if earlier.runs > self.runs { &Self::default() } else { earlier };
        let (queue, requests) =
            (self.queue.since(before.queue), self.requests.since(before.requests));
        let batches = self.batches.iter().filter_map(|(&rows, batch)| {
            let batch = batch.since(before.batches.get(&rows).copied().unwrap_or_default());
            (batch.runs > 0).then(|| batch.of(rows))
        });
        Statistics {
            requests: requests.count,
            failed: self.failed.saturating_sub(before.failed),
            rows: self.rows.saturating_sub(before.rows),
            runs: self.runs.saturating_sub(before.runs),
            queue_us_mean: queue.mean_us(),
            request_us_mean: requests.mean_us(),
            batches: batches.collect(),
        }
    }

    fn add(&mut self, model: &Page) {
        let Counts { success, fail, queue } = model.inference_stats;
        self.requests.add(success);
        self.queue.add(queue);
        self.failed += fail.count;
        self.rows += model.inference_count;
        self.runs += model.execution_count;
        for of_size in &model.batch_stats {
            let batch = self.batches.entry(of_size.batch_size).or_default();
            batch.runs += of_size.compute_infer.count;
            batch.input_ns += of_size.compute_input.ns;
            batch.run_ns += of_size.compute_infer.ns;
            batch.output_ns += of_size.compute_output.ns;
        }
    }
}

impl Timed {
    fn add(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.ns = self.ns.saturating_add(other.ns);
    }

    fn since(self, earlier: Self) -> Self {
        Self {
            count: self.count.saturating_sub(earlier.count),
            ns: self.ns.saturating_sub(earlier.ns),
        }
    }

    fn mean_us(self) -> Option<f64> {
        (self.count > 0).then(|| self.ns as f64 / self.count as f64 / 1e3)
    }
}

impl Batch {
    fn since(self, earlier: Self) -> Self {
        Self {
            runs: self.runs.saturating_sub(earlier.runs),
            input_ns: self.input_ns.saturating_sub(earlier.input_ns),
            run_ns: self.run_ns.saturating_sub(earlier.run_ns),
            output_ns: self.output_ns.saturating_sub(earlier.output_ns),
        }
    }

    fn of(self, rows: u64) -> BatchSize {
        let mean_us = |ns: u64| ns as f64 / self.runs as f64 / 1e3;
        BatchSize {
            rows,
            runs: self.runs,
            input_us: mean_us(self.input_ns),
            run_us: mean_us(self.run_ns),
            output_us: mean_us(self.output_ns),
        }
    }
}

impl Statistics {
    /// Mean rows of a run; `None` without any.
    pub fn mean_batch_rows(&self) -> Option<f64> {
        let runs: u64 = self.batches.iter().map(|batch| batch.runs).sum();
        let rows: f64 = self.batches.iter().map(|batch| (batch.rows * batch.runs) as f64).sum();
        (runs > 0).then(|| rows / runs as f64)
    }

    /// Batch size that this share of all rows does not exceed; `None` without any.
    pub fn batch_rows_of_share(&self, share: f64) -> Option<u64> {
        let total: f64 = self.batches.iter().map(|batch| (batch.rows * batch.runs) as f64).sum();
        let mut so_far = 0.0;
        let reached = self.batches.iter().find(|batch| {
            so_far += (batch.rows * batch.runs) as f64;
            so_far >= share * total
        });
        reached.map(|batch| batch.rows)
    }
}

/// Response as JSON.
#[derive(Debug, Deserialize)]
struct Pages {
    model_stats: Vec<Page>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Page {
    inference_count: u64,
    execution_count: u64,
    inference_stats: Counts,
    batch_stats: Vec<OfSize>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct Counts {
    success: Timed,
    fail: Timed,
    queue: Timed,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct OfSize {
    batch_size: u64,
    compute_input: Timed,
    compute_infer: Timed,
    compute_output: Timed,
}

impl From<ModelStatistics> for Page {
    fn from(model: ModelStatistics) -> Self {
        let timed = |time: Option<GrpcDuration>| {
            time.map_or(Timed::default(), |time| Timed { count: time.count, ns: time.ns })
        };
        let counts = model.inference_stats.unwrap_or_default();
        let of_size = |batch: InferBatchStatistics| OfSize {
            batch_size: batch.batch_size,
            compute_input: timed(batch.compute_input),
            compute_infer: timed(batch.compute_infer),
            compute_output: timed(batch.compute_output),
        };
        Self {
            inference_count: model.inference_count,
            execution_count: model.execution_count,
            inference_stats: Counts {
                success: timed(counts.success),
                fail: timed(counts.fail),
                queue: timed(counts.queue),
            },
            batch_stats: model.batch_stats.into_iter().map(of_size).collect(),
        }
    }
}

async fn read_http(target: &Target) -> Result<Reading, Failure> {
    let (status, body) =
        get(&target.address, &format!("{}/stats", target.path()), PAGE_BYTES_MAX).await?;
    if status != StatusCode::OK {
        return Err(Failure::Status {
            status: status.as_str().to_owned(),
            message: "the server has no statistics of the model".to_owned(),
        });
    }
    let pages: Pages = serde_json::from_slice(&body)
        .map_err(|error| Failure::Broken(format!("these are not statistics: {error}")))?;
    Ok(of(pages.model_stats))
}

async fn read_grpc(target: &Target) -> Result<Reading, Failure> {
    let (name, version) = (target.model.clone(), target.version.clone().unwrap_or_default());
    let request = ModelStatisticsRequest { name, version };
    let answer = client(&target.address).await?.model_statistics(request).await;
    let models = answer.map_err(|status| status_failure(&status))?.into_inner().model_stats;
    Ok(of(models.into_iter().map(Page::from)))
}

fn of(models: impl IntoIterator<Item = Page>) -> Reading {
    let mut reading = Reading::default();
    models.into_iter().for_each(|model| reading.add(&model));
    reading
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Response of a server that ran one row once, and then four rows `runs` times.
    fn reading(runs: u64) -> Reading {
        let text = format!(
            r#"{{"model_stats": [{{"name": "m", "version": "1", "last_inference": 5,
            "inference_count": {rows}, "execution_count": {all},
            "inference_stats": {{"success": {{"count": {rows}, "ns": {total}}},
              "fail": {{"count": 2, "ns": 9}}, "queue": {{"count": {rows}, "ns": {queue}}}}},
            "batch_stats": [
              {{"batch_size": 1, "compute_infer": {{"count": 1, "ns": 100000}}}},
              {{"batch_size": 4, "compute_input": {{"count": {runs}, "ns": {input}}},
               "compute_infer": {{"count": {runs}, "ns": {run}}},
               "compute_output": {{"count": {runs}, "ns": 0}}}}]}}]}}"#,
            rows = 1 + 4 * runs,
            all = 1 + runs,
            total = 300_000 * (1 + 4 * runs),
            queue = 50_000 * (1 + 4 * runs),
            input = 5_000 * runs,
            run = 200_000 * runs,
        );
        of(serde_json::from_str::<Pages>(&text).unwrap().model_stats)
    }

    #[test]
    fn a_difference_has_only_what_happened_between() {
        let found = reading(12).since(&reading(2));
        assert_eq!((found.requests, found.failed, found.rows, found.runs), (40, 0, 40, 10));
        assert_eq!((found.queue_us_mean, found.request_us_mean), (Some(50.0), Some(300.0)));
        let four = BatchSize { rows: 4, runs: 10, input_us: 5.0, run_us: 200.0, output_us: 0.0 };
        assert_eq!(found.batches, [four]);
        assert_eq!((four.total_us(), found.mean_batch_rows()), (205.0, Some(4.0)));
    }

    #[test]
    fn a_reloaded_model_counts_from_zero() {
        let found = reading(2).since(&reading(12));
        assert_eq!((found.runs, found.batches.len()), (3, 2));
        assert_eq!(found.batch_rows_of_share(0.05), Some(1));
        assert_eq!(found.batch_rows_of_share(0.99), Some(4));
    }

    #[test]
    fn an_empty_difference_has_no_means() {
        let found = reading(1).since(&reading(1));
        assert_eq!((found.queue_us_mean, found.mean_batch_rows()), (None, None));
        assert_eq!(found.batch_rows_of_share(0.5), None);
    }

    #[test]
    fn missing_fields_of_another_server_are_zero() {
        let pages: Pages = serde_json::from_str(r#"{"model_stats": [{"name": "m"}]}"#).unwrap();
        assert_eq!(of(pages.model_stats), Reading::default());
        assert!(serde_json::from_str::<Pages>(r#"{"error": "no"}"#).is_err());
    }
}
