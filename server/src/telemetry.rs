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
use prometheus::{Encoder, Gauge, IntCounter, IntGauge, Opts, TextEncoder};
use skysail_engine::error::Reason;
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
}

/// Triton's counters and our own histograms of one version.
fn add_model(families: &mut Families, model: &Model) -> prometheus::Result<()> {
    let counted = model.statistics();
    let options = |name: &str, help: &str| {
        Opts::new(name, help)
            .const_label("model", &**model.name())
            .const_label("version", model.version().to_string())
    };
    let counters = [
        ("nv_inference_request_success", "Requests answered", counted.success.count()),
        ("nv_inference_count", "Rows run", counted.rows()),
        ("nv_inference_exec_count", "Batches run", counted.runs()),
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
        families.counter(options(name, help), value)?;
    }
    for reason in Reason::ALL {
        let options = options("nv_inference_request_failure", "Requests not answered, by reason")
            .const_label("reason", reason.name());
        families.counter(options, counted.failures(reason))?;
    }
    let pending = options("nv_inference_pending_request_count", "Requests in the queue");
    let pending = IntGauge::with_opts(pending)?;
    pending.set(i64::try_from(model.waiting()).unwrap_or(i64::MAX));
    families.add(&pending);
    counted.stage_histograms().iter().for_each(|histogram| families.add(histogram));
    Ok(())
}

/// What the process takes of the machine.
fn add_process(families: &mut Families) -> prometheus::Result<()> {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return Ok(()) };
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = resident.and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
    let help = "Memory of the server that is in RAM";
    let gauge = Gauge::with_opts(Opts::new("process_resident_memory_bytes", help))?;
    gauge.set(kilobytes.unwrap_or_default() * 1024.0);
    families.add(&gauge);
    Ok(())
}
