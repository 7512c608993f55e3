//! Collects the current values of all metrics.

use super::family::{Counts, Exemplar, Families, Labels};
use crate::observe::process_memory;
use crate::server::Server;
use skysail_engine::endpoint::Endpoint;
use skysail_engine::error::{Reason, ShedReason};
use skysail_engine::layers::Execution;
use skysail_engine::observe::histogram::Snapshot;
use skysail_engine::observe::statistics::SECONDS_POWERS;
use skysail_engine::repository::State;
use skysail_engine::request_record::{Outcome, RequestRecord};
use skysail_engine::stage::Stage;
use std::ops::RangeInclusive;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Most versions with metrics of their own. Those of all others are summed.
const VERSIONS_MAX: usize = 256;

/// Name of the model in the summed metrics.
const OTHER: &str = "other";

/// Bounds of the classic buckets of rows, as powers of two.
const ROWS_POWERS: RangeInclusive<i32> = 0..=12;

/// Collects all metrics.
pub(super) fn families(server: &Server) -> Families {
    let mut families = Families::default();
    let serving = server.engine().repository().serving();
    for (index, model) in serving.iter().enumerate() {
        let of = Version { model, is_other: index >= VERSIONS_MAX };
        of.add_triton(&mut families);
        of.add_cache(&mut families);
        of.add_layers(&mut families);
        of.add_requests(&mut families);
        of.add_state(&mut families);
    }
    add_ready(&mut families, server);
    add_stores(&mut families, server);
    add_server(&mut families, server);
    families
}

/// A version, with metrics of its own or summed ones.
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

    /// Labels of Triton's metrics: those that the model's configuration adds come last.
    fn triton_labels(&self) -> Labels {
        let mut labels = self.labels();
        if !self.is_other {
            let tags = self.model.config().metric_tags.iter();
            labels.extend(tags.map(|(key, value)| (format!("_{key}").into(), value.clone())));
        }
        labels
    }

    fn labels_and(&self, name: &'static str, value: &str) -> Labels {
        let mut labels = self.labels();
        labels.push((name.into(), value.to_owned()));
        labels
    }

    /// Triton's counters, and a few more.
    fn add_triton(&self, families: &mut Families) {
        let counted = self.model.statistics();
        let counters = [
            (("nv_inference_request_success", "Requests answered"), counted.success.count()),
            (("nv_inference_count", "Rows run"), counted.rows()),
            (("nv_inference_exec_count", "Batches run"), counted.runs()),
            (
                (
                    "skysail_cancelled_batches_total",
                    "Batches that were cancelled because all their callers had left",
                ),
                counted.cancelled(),
            ),
            (
                (
                    "nv_inference_request_duration_us",
                    "Time of answered requests, from decoded inputs to outputs",
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
            families.counter(what, self.triton_labels(), value);
        }
        for reason in Reason::ALL {
            let what = ("nv_inference_request_failure", "Requests without a response, by reason");
            let mut labels = self.triton_labels();
            labels.push(("reason".into(), reason.name().to_owned()));
            families.counter(what, labels, counted.failures(reason));
        }
        let what = ("nv_inference_pending_request_count", "Requests in the queue");
        families.gauge(what, self.triton_labels(), self.model.model().waiting() as f64);
    }

    /// Triton's counters of a cache, and its size, if the model has one.
    fn add_cache(&self, families: &mut Families) {
        let Some(holds) = self.model.cache_usage() else { return };
        let (hit, miss) = (&self.model.statistics().cache_hit, &self.model.statistics().cache_miss);
        let hits = "Requests answered from the cache or by the run of an identical request";
        let misses = "Requests without a cached response";
        let hit_time = "Time of cache lookups that were hits";
        let miss_time = "Time of cache lookups that were misses, and of storing the responses";
        let counters = [
            (("nv_cache_num_hits_per_model", hits), hit.count()),
            (("nv_cache_num_misses_per_model", misses), miss.count()),
            (("nv_cache_hit_duration_per_model", hit_time), hit.ns() / 1000),
            (("nv_cache_miss_duration_per_model", miss_time), miss.ns() / 1000),
        ];
        for (what, value) in counters {
            families.counter(what, self.triton_labels(), value);
        }
        let what = ("skysail_cache_bytes", "Memory of the responses in the cache");
        families.gauge(what, self.labels(), holds.bytes as f64);
        let what = ("skysail_cache_entries", "Responses in the cache");
        families.gauge(what, self.labels(), holds.entries as f64);
    }

    /// Layers of a compressed package by execution, and memory of its weights.
    fn add_layers(&self, families: &mut Families) {
        let Some(layers) = self.model.model().layers() else { return };
        for execution in Execution::ALL {
            let what = ("skysail_layers", "Layers of a package, by how they run");
            let labels = self.labels_and("execution", execution.name());
            families.gauge(what, labels, layers.count(execution) as f64);
        }
        let what = ("skysail_weights_bytes", "Memory of a package's weights as they run");
        families.gauge(what, self.labels(), layers.weights_bytes as f64);
        let what =
            ("skysail_dense_weights_bytes", "Memory that the weights would take if all were dense");
        families.gauge(what, self.labels(), layers.dense_bytes as f64);
    }

    /// Outcomes of requests, and time in each stage.
    fn add_requests(&self, families: &mut Families) {
        let counted = self.model.statistics();
        for (name, count) in Outcome::NAMES.into_iter().zip(counted.outcomes()) {
            let what = ("skysail_requests_total", "Requests, by outcome");
            families.counter(what, self.labels_and("outcome", name), count);
        }
        for reason in ShedReason::ALL {
            let help = "Sound requests that were shed, by reason; they count as failures too";
            let what = ("skysail_shed_requests_total", help);
            let labels = self.labels_and("reason", reason.name());
            families.counter(what, labels, counted.shed(reason));
        }
        let what = ("skysail_batch_rows", "Rows of the batches that ran");
        let powers = ROWS_POWERS;
        let rows = Counts { snapshot: counted.batch_rows(), powers, exemplars: Vec::new() };
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

    /// A histogram of times, with exemplars.
    fn seconds(&self, snapshot: Snapshot, stage: Option<Stage>) -> Counts {
        let exemplar = |power| {
            let record = self.model.statistics().exemplar(stage, power)?;
            Some((power, self::exemplar(&record, stage)))
        };
        let powers = SECONDS_POWERS;
        let exemplars = match self.is_other {
            true => Vec::new(),
            false => powers.clone().filter_map(exemplar).collect(),
        };
        Counts { snapshot, powers, exemplars }
    }

    /// Current state.
    fn add_state(&self, families: &mut Families) {
        let model = self.model;
        let what = ("skysail_replicas", "Replicas that run the model");
        families.gauge(what, self.labels(), model.model().replicas() as f64);
        let what = ("skysail_replicas_busy", "Replicas that run a batch now");
        families.gauge(what, self.labels(), model.model().busy() as f64);
        let help = "Queues with requests that make no progress";
        let stalled = f64::from(u8::from(model.is_stalled()));
        families.gauge(("skysail_stalled_queues", help), self.labels(), stalled);
        if let Some(us) = model.objective_us().filter(|_| !self.is_other) {
            let what = ("skysail_objective_seconds", "Latency objective (SLO) of requests");
            families.gauge(what, self.labels(), us as f64 / 1e6);
        }
    }
}

fn labels(model: &str, version: String) -> Labels {
    vec![("model".into(), model.to_owned()), ("version".into(), version)]
}

fn exemplar(record: &RequestRecord, stage: Option<Stage>) -> Exemplar {
    let request_id = ("request_id".into(), record.request_id.to_string());
    let trace_id = record.trace_id.map(|id| ("trace_id".into(), format!("{id:032x}")));
    let ns = match stage {
        Some(stage) => record.ends.stage_ns(stage).unwrap_or(0) as f64,
        None => record.total_us() as f64 * 1e3,
    };
    let ago = Instant::now().saturating_duration_since(record.ended());
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Exemplar {
        labels: std::iter::once(request_id).chain(trace_id).collect(),
        value: ns * 1e-9,
        time_s: since_1970.saturating_sub(ago).as_secs_f64(),
    }
}

/// Readiness of all versions that should serve.
fn add_ready(families: &mut Families, server: &Server) {
    let what = ("skysail_model_ready", "1 if a version serves and its queue makes progress");
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

/// Metrics of the object stores that models come from.
fn add_stores(families: &mut Families, server: &Server) {
    let Some(stores) = server.stores() else { return };
    for store in stores.status() {
        let labels = || vec![("store".into(), store.label.clone())];
        let what = ("skysail_store_up", "1 if the last look at the object store succeeded");
        families.gauge(what, labels(), f64::from(u8::from(store.is_up)));
        let what = ("skysail_store_downloaded_bytes_total", "Bytes from the object store");
        families.counter(what, labels(), store.downloaded);
    }
    if let Some(bytes) = stores.cache_bytes() {
        let what = ("skysail_store_cache_bytes", "Bytes of the copies from object stores on disk");
        families.gauge(what, Vec::new(), bytes as f64);
    }
}

/// Metrics of the whole server.
fn add_server(families: &mut Families, server: &Server) {
    let loading_us = server.engine().repository().loading_us(Instant::now());
    let what = ("skysail_loading_seconds", "Time in which models were loaded or unloaded");
    families.gauge(what, Vec::new(), loading_us as f64 / 1e6);
    let help = "Inference requests whose model or version did not serve";
    let what = ("skysail_requests_without_model_total", help);
    families.counter(what, Vec::new(), server.without_model());
    let what = ("skysail_spans_sent_total", "Spans that the collector accepted");
    families.counter(what, Vec::new(), server.tracing().sent());
    let what = ("skysail_spans_dropped_total", "Spans that could not be sent");
    families.counter(what, Vec::new(), server.tracing().dropped());
    if let Some(bytes) = process_memory::resident_bytes() {
        let what = ("process_resident_memory_bytes", "Memory of the server in RAM");
        families.gauge(what, Vec::new(), bytes as f64);
    }
    if let Some(bytes) = process_memory::limit_bytes() {
        let what = ("skysail_memory_limit_bytes", "Memory limit of the server");
        families.gauge(what, Vec::new(), bytes as f64);
    }
}
