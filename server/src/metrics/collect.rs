//! Everything there is to measure, as it is now.

use super::family::{Counts, Example, Families, Labels};
use crate::memory;
use crate::server::Server;
use skysail_engine::endpoint::Endpoint;
use skysail_engine::error::{Reason, Refusal};
use skysail_engine::layers::Execution;
use skysail_engine::observe::histogram::Snapshot;
use skysail_engine::observe::statistics::SECONDS_POWERS;
use skysail_engine::repository::State;
use skysail_engine::request_record::{Outcome, RequestRecord};
use skysail_engine::stage::Stage;
use std::ops::RangeInclusive;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Versions that have metrics of their own; those of all others are added together.
const VERSIONS_MAX: usize = 256;

/// The model's name in the metrics of those others.
const OTHER: &str = "other";

/// Powers of two that bound the classic buckets of rows.
const ROWS_POWERS: RangeInclusive<i32> = 0..=12;

/// All metrics.
pub(super) fn families(server: &Server) -> Families {
    let mut families = Families::default();
    let serving = server.engine().repository().serving();
    for (place, model) in serving.iter().enumerate() {
        let of = Version { model, is_other: place >= VERSIONS_MAX };
        of.add_triton(&mut families);
        of.add_cache(&mut families);
        of.add_layers(&mut families);
        of.add_requests(&mut families);
        of.add_state(&mut families);
    }
    add_ready(&mut families, server);
    add_server(&mut families, server);
    families
}

/// A version, whose metrics may not be its own.
struct Version<'a> {
    model: &'a Endpoint,
    is_other: bool,
}

impl Version<'_> {
    fn labels(&self) -> Labels {
        match self.is_other {
            true => labels(OTHER, String::new()),
            false => labels(self.model.name(), self.model.version().to_string()),
        }
    }

    fn labels_and(&self, name: &'static str, value: &str) -> Labels {
        let mut labels = self.labels();
        labels.push((name, value.to_owned()));
        labels
    }

    /// Triton's counters, and a few that it has not.
    fn add_triton(&self, families: &mut Families) {
        let counted = self.model.statistics();
        let counters = [
            (("nv_inference_request_success", "Requests answered"), counted.success.count()),
            (("nv_inference_count", "Rows run"), counted.rows()),
            (("nv_inference_exec_count", "Batches run"), counted.runs()),
            (
                (
                    "skysail_stopped_batches_total",
                    "Batches that were stopped because all their callers had left",
                ),
                counted.stopped(),
            ),
            (
                (
                    "nv_inference_request_duration_us",
                    "Time of answered requests, from queue to outputs",
                ),
                counted.success.ns() / 1000,
            ),
            (("nv_inference_queue_duration_us", "Time in the queue"), counted.queue.ns() / 1000),
            (
                ("nv_inference_compute_input_duration_us", "Time of gathering inputs"),
                counted.compute_input.ns() / 1000,
            ),
            (
                ("nv_inference_compute_infer_duration_us", "Time of running the model"),
                counted.compute_infer.ns() / 1000,
            ),
            (
                (
                    "nv_inference_compute_output_duration_us",
                    "Time of giving requests their outputs",
                ),
                counted.compute_output.ns() / 1000,
            ),
        ];
        for (what, value) in counters {
            families.counter(what, self.labels(), value);
        }
        for reason in Reason::ALL {
            let what = ("nv_inference_request_failure", "Requests not answered, by reason");
            families.counter(
                what,
                self.labels_and("reason", reason.name()),
                counted.failures(reason),
            );
        }
        let what = ("nv_inference_pending_request_count", "Requests in the queue");
        families.gauge(what, self.labels(), self.model.model().waiting() as f64);
    }

    /// Triton's counters of a cache, and what it holds, of a model that has one.
    fn add_cache(&self, families: &mut Families) {
        let Some(holds) = self.model.cache_usage() else { return };
        let (hit, miss) = (&self.model.statistics().cache_hit, &self.model.statistics().cache_miss);
        let hits = "Requests answered from the cache or by the run of another";
        let misses = "Requests that the cache had no answer for";
        let looking = "Time of looking answers up that were there";
        let keeping = "Time of looking for answers that were not there, and of keeping them";
        let counters = [
            (("nv_cache_num_hits_per_model", hits), hit.count()),
            (("nv_cache_num_misses_per_model", misses), miss.count()),
            (("nv_cache_hit_duration_per_model", looking), hit.ns() / 1000),
            (("nv_cache_miss_duration_per_model", keeping), miss.ns() / 1000),
        ];
        for (what, value) in counters {
            families.counter(what, self.labels(), value);
        }
        let what = ("skysail_cache_bytes", "Memory of the answers in the cache");
        families.gauge(what, self.labels(), holds.bytes as f64);
        let what = ("skysail_cache_entries", "Answers in the cache");
        families.gauge(what, self.labels(), holds.entries as f64);
    }

    /// How the layers of a package run, and what its weights take.
    fn add_layers(&self, families: &mut Families) {
        let Some(layers) = self.model.model().layers() else { return };
        for execution in Execution::ALL {
            let what = ("skysail_layers", "Layers of a package, by how they run");
            let labels = self.labels_and("execution", execution.name());
            families.gauge(what, labels, layers.count(execution) as f64);
        }
        let what = ("skysail_weights_bytes", "Memory of a package's weights as they run");
        families.gauge(what, self.labels(), layers.weights_bytes as f64);
        let what = ("skysail_dense_weights_bytes", "What they would take if all were dense");
        families.gauge(what, self.labels(), layers.dense_bytes as f64);
    }

    /// How requests ended, and how long each of their stages took.
    fn add_requests(&self, families: &mut Families) {
        let counted = self.model.statistics();
        for (name, count) in Outcome::NAMES.into_iter().zip(counted.outcomes()) {
            let what = ("skysail_requests_total", "Requests, by how they ended");
            families.counter(what, self.labels_and("outcome", name), count);
        }
        for refusal in Refusal::ALL {
            let help = "Sound requests turned down, by reason; failures as well";
            let what = ("skysail_refused_requests_total", help);
            let labels = self.labels_and("reason", refusal.name());
            families.counter(what, labels, counted.refusals(refusal));
        }
        let what = ("skysail_batch_rows", "Rows of the batches that ran");
        let powers = ROWS_POWERS;
        let rows = Counts { snapshot: counted.batch_rows(), powers, examples: Vec::new() };
        families.histogram(what, self.labels(), rows);
        let what = (
            "skysail_request_duration_seconds",
            "Time of answered requests, from the arrival of their head",
        );
        families.histogram(what, self.labels(), self.seconds(counted.total(), None));
        for stage in Stage::ALL {
            let what = (
                "skysail_stage_duration_seconds",
                "Time that answered requests spent in each stage",
            );
            let labels = self.labels_and("stage", stage.name());
            families.histogram(what, labels, self.seconds(counted.stage(stage), Some(stage)));
        }
    }

    /// A histogram of times, with its examples.
    fn seconds(&self, snapshot: Snapshot, stage: Option<Stage>) -> Counts {
        let example = |power| {
            let record = self.model.statistics().exemplar(stage, power)?;
            Some((power, example(&record, stage)))
        };
        let powers = SECONDS_POWERS;
        let examples = match self.is_other {
            true => Vec::new(),
            false => powers.clone().filter_map(example).collect(),
        };
        Counts { snapshot, powers, examples }
    }

    /// How it stands now.
    fn add_state(&self, families: &mut Families) {
        let model = self.model;
        let what = ("skysail_replicas", "Replicas that run the model");
        families.gauge(what, self.labels(), model.model().replicas() as f64);
        let what = ("skysail_replicas_busy", "Replicas that run a batch now");
        families.gauge(what, self.labels(), model.model().busy() as f64);
        let help = "Queues that have requests and do not move";
        let stalled = f64::from(u8::from(model.is_stalled()));
        families.gauge(("skysail_stalled_queues", help), self.labels(), stalled);
        if let Some(us) = model.objective_us().filter(|_| !self.is_other) {
            let what = ("skysail_objective_seconds", "How soon requests should be answered");
            families.gauge(what, self.labels(), us as f64 / 1e6);
        }
    }
}

fn labels(model: &str, version: String) -> Labels {
    vec![("model", model.to_owned()), ("version", version)]
}

fn example(record: &RequestRecord, stage: Option<Stage>) -> Example {
    let request_id = ("request_id", record.request_id.to_string());
    let trace_id = record.trace_id.map(|id| ("trace_id", format!("{id:032x}")));
    let ns = match stage {
        Some(stage) => record.ends.stage_ns(stage).unwrap_or(0) as f64,
        None => record.total_us() as f64 * 1e3,
    };
    let ago = Instant::now().saturating_duration_since(record.ended());
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Example {
        labels: std::iter::once(request_id).chain(trace_id).collect(),
        value: ns * 1e-9,
        time_s: since_1970.saturating_sub(ago).as_secs_f64(),
    }
}

/// Which versions answer, of all that are in the repository and should.
fn add_ready(families: &mut Families, server: &Server) {
    let what = ("skysail_model_ready", "Whether a version serves and its queue moves");
    let index = server.engine().repository().index();
    for ((name, version), status) in index.into_iter().take(VERSIONS_MAX) {
        let is_unloaded = status.state == State::Unavailable
            && ["unloaded", "not loaded"].contains(&status.reason.as_str());
        if is_unloaded || status.state == State::Unloading {
            continue;
        }
        let is_ready = status.state == State::Ready && server.is_model_ready(&name, Some(version));
        families.gauge(what, labels(&name, version.to_string()), f64::from(u8::from(is_ready)));
    }
}

/// Of the server as a whole.
fn add_server(families: &mut Families, server: &Server) {
    let loading_us = server.engine().repository().loading_us(Instant::now());
    let what = ("skysail_loading_seconds", "Time in which models were loaded or unloaded");
    families.gauge(what, Vec::new(), loading_us as f64 / 1e6);
    let what = ("skysail_spans_sent_total", "Spans that the collector took");
    families.counter(what, Vec::new(), server.tracing().sent());
    let what = ("skysail_spans_dropped_total", "Spans that could not be sent");
    families.counter(what, Vec::new(), server.tracing().dropped());
    if let Some(bytes) = memory::resident_bytes() {
        let what = ("process_resident_memory_bytes", "Memory of the server that is in RAM");
        families.gauge(what, Vec::new(), bytes as f64);
    }
    if let Some(bytes) = memory::limit_bytes() {
        let what = ("skysail_memory_limit_bytes", "Memory that the server may have");
        families.gauge(what, Vec::new(), bytes as f64);
    }
}
