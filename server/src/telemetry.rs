//! The log, and the metrics that Prometheus reads.

use crate::admin::settings::LogSettings;
use crate::config::{Format, Level, Log};
use crate::http::{Pieces, refusal};
use crate::server::Server;
use crate::status::Error;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response};
use hyper::body::Incoming;
use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{Encoder, Gauge, IntCounter, Opts, TextEncoder};
use skysail_engine::error::{Reason, Refusal};
use skysail_engine::layers::Execution;
use skysail_engine::model::Model;
use smallvec::smallvec;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::Arc;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{fmt, reload};

/// Starts to log to standard error.
pub(crate) fn start_log(log: &Log) -> LogSettings {
    let level = match log.level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    let (filter, handle) = reload::Layer::new(level);
    let registry = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    // It fails only when a log was started before, which goes on.
    match log.format {
        Format::Text => drop(registry.with(lines).try_init()),
        Format::Json => drop(registry.with(lines.json()).try_init()),
    }
    LogSettings::new(handle)
}

/// Answers a request on the metrics' port.
pub(crate) async fn serve(server: Arc<Server>, request: Request<Incoming>) -> Response<Pieces> {
    if *request.method() != Method::GET {
        return refusal(&Error::WrongMethod("GET"));
    }
    if request.uri().path() != "/metrics" {
        return refusal(&Error::NoSuchPath(request.uri().path().escape_debug().to_string()));
    }
    let mut text = Vec::new();
    if let Err(error) = TextEncoder::new().encode(&families(&server), &mut text) {
        tracing::error!("the metrics can not be written: {error}");
    }
    let mut response = Response::new(Pieces::new(smallvec![text.into()]));
    let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// All metrics as they are now, those of one name together.
fn families(server: &Server) -> Vec<MetricFamily> {
    let mut families = Families::default();
    for model in server.engine().repository().serving() {
        // A name or label that the library refuses is a metric less, and no reason to fail.
        if let Err(error) = add_model(&mut families, &model) {
            tracing::error!("no metrics of model '{}': {error}", model.name());
        }
    }
    if let Err(error) = add_process(&mut families) {
        tracing::error!("no metrics of the process: {error}");
    }
    families.0.into_values().collect()
}

/// Metrics by name.
#[derive(Default)]
struct Families(BTreeMap<String, MetricFamily>);

impl Families {
    fn add(&mut self, collector: &impl Collector) {
        for mut family in collector.collect() {
            match self.0.get_mut(family.name()) {
                Some(known) => known.mut_metric().append(family.mut_metric()),
                None => drop(self.0.insert(family.name().to_owned(), family)),
            }
        }
    }

    fn counter(&mut self, options: Opts, value: u64) -> prometheus::Result<()> {
        let counter = IntCounter::with_opts(options)?;
        counter.inc_by(value);
        self.add(&counter);
        Ok(())
    }

    fn gauge(&mut self, options: Opts, value: f64) -> prometheus::Result<()> {
        let gauge = Gauge::with_opts(options)?;
        gauge.set(value);
        self.add(&gauge);
        Ok(())
    }
}

/// Options of a metric of one version.
fn of(model: &Model, name: &str, help: &str) -> Opts {
    Opts::new(name, help)
        .const_label("model", &**model.name())
        .const_label("version", model.version().to_string())
}

/// Triton's counters and our own histograms of one version.
fn add_model(families: &mut Families, model: &Model) -> prometheus::Result<()> {
    let counted = model.statistics();
    let counters = [
        ("nv_inference_request_success", "Requests answered", counted.success.count()),
        ("nv_inference_count", "Rows run", counted.rows()),
        ("nv_inference_exec_count", "Batches run", counted.runs()),
        (
            "skysail_stopped_batches_total",
            "Batches that were stopped because all their callers had left",
            counted.stopped(),
        ),
        (
            "nv_inference_request_duration_us",
            "Time of answered requests, from queue to outputs",
            counted.success.ns() / 1000,
        ),
        ("nv_inference_queue_duration_us", "Time in the queue", counted.queue.ns() / 1000),
        (
            "nv_inference_compute_input_duration_us",
            "Time of gathering inputs",
            counted.compute_input.ns() / 1000,
        ),
        (
            "nv_inference_compute_infer_duration_us",
            "Time of running the model",
            counted.compute_infer.ns() / 1000,
        ),
        (
            "nv_inference_compute_output_duration_us",
            "Time of giving requests their outputs",
            counted.compute_output.ns() / 1000,
        ),
    ];
    for (name, help, value) in counters {
        families.counter(of(model, name, help), value)?;
    }
    add_failures(families, model)?;
    let help = "Requests in the queue";
    let pending = of(model, "nv_inference_pending_request_count", help);
    families.gauge(pending, model.waiting() as f64)?;
    let replicas = of(model, "skysail_replicas", "Replicas that run the model");
    families.gauge(replicas, model.replicas() as f64)?;
    if let Some(us) = model.objective_us() {
        let help = "How soon requests should be answered";
        families.gauge(of(model, "skysail_objective_seconds", help), us as f64 / 1e6)?;
    }
    add_cache(families, model)?;
    add_layers(families, model)?;
    counted.stage_histograms().iter().for_each(|histogram| families.add(histogram));
    Ok(())
}

/// How the layers of a package run, and what its weights take.
fn add_layers(families: &mut Families, model: &Model) -> prometheus::Result<()> {
    let Some(layers) = model.layers() else { return Ok(()) };
    for execution in Execution::ALL {
        let options = of(model, "skysail_layers", "Layers of a package, by how they run");
        let options = options.const_label("execution", execution.name());
        families.gauge(options, layers.count(execution) as f64)?;
    }
    let bytes = of(model, "skysail_weights_bytes", "Memory of a package's weights as they run");
    families.gauge(bytes, layers.weights_bytes as f64)?;
    let dense = of(model, "skysail_dense_weights_bytes", "What they would take if all were dense");
    families.gauge(dense, layers.dense_bytes as f64)
}

/// Triton's counters of a cache, and what it holds, of a model that has one.
fn add_cache(families: &mut Families, model: &Model) -> prometheus::Result<()> {
    let Some(holds) = model.cache_use() else { return Ok(()) };
    let (hit, miss) = (&model.statistics().cache_hit, &model.statistics().cache_miss);
    let hits = "Requests answered from the cache or by the run of another";
    let misses = "Requests that the cache had no answer for";
    let looking = "Time of looking answers up that were there";
    let keeping = "Time of looking for answers that were not there, and of keeping them";
    let counters = [
        ("nv_cache_num_hits_per_model", hits, hit.count()),
        ("nv_cache_num_misses_per_model", misses, miss.count()),
        ("nv_cache_hit_duration_per_model", looking, hit.ns() / 1000),
        ("nv_cache_miss_duration_per_model", keeping, miss.ns() / 1000),
    ];
    for (name, help, value) in counters {
        families.counter(of(model, name, help), value)?;
    }
    let bytes = of(model, "skysail_cache_bytes", "Memory of the answers in the cache");
    families.gauge(bytes, holds.bytes as f64)?;
    let entries = of(model, "skysail_cache_entries", "Answers in the cache");
    families.gauge(entries, holds.entries as f64)
}

/// Requests without an answer: Triton's counter of all, and our own of those turned down.
fn add_failures(families: &mut Families, model: &Model) -> prometheus::Result<()> {
    let counted = model.statistics();
    for reason in Reason::ALL {
        let help = "Requests not answered, by reason";
        let options = of(model, "nv_inference_request_failure", help);
        let options = options.const_label("reason", reason.name());
        families.counter(options, counted.failures(reason))?;
    }
    for refusal in Refusal::ALL {
        let help = "Sound requests turned down, by reason; failures as well";
        let options = of(model, "skysail_refused_requests_total", help);
        let options = options.const_label("reason", refusal.name());
        families.counter(options, counted.refusals(refusal))?;
    }
    Ok(())
}

/// What the process takes of the machine.
fn add_process(families: &mut Families) -> prometheus::Result<()> {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return Ok(()) };
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = resident.and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
    let help = "Memory of the server that is in RAM";
    let options = Opts::new("process_resident_memory_bytes", help);
    families.gauge(options, kilobytes.unwrap_or_default() * 1024.0)
}
