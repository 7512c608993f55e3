//! The thread that exports spans to a collector, and the bounded channel to it.
//!
//! The thread wakes by the clock, not for each request. So a request pays only for its place in the
//! channel. The channel's size bounds the work of a tick, even if every request fails.

use super::kept::Kept;
use super::runs::Runs;
use super::span;
use anyhow::Context as _;
use opentelemetry::KeyValue;
use opentelemetry_otlp::{RetryPolicy, SpanExporter as Otlp, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Most requests that wait for export.
const KEPT_MAX: usize = 2048;

/// Interval between two exports.
const TICK: Duration = Duration::from_millis(500);

/// Time limit of the collector, retries included.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// Time limit for the last spans when the server stops.
const STOP_TIMEOUT: Duration = Duration::from_millis(500);

/// Most spans in a message: some hundred kilobytes.
const MESSAGE_SPANS: usize = 2048;

/// Interval between two log lines about failing exports.
const LOG_PAUSE: Duration = Duration::from_secs(60);

/// Default name of the service.
const SERVICE: &str = "skysail-server";

/// The sending end of the channel to the thread.
pub(super) struct Outbox {
    kept: mpsc::Sender<Kept>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    sent: AtomicU64,
    dropped: AtomicU64,
}

impl Outbox {
    /// Passes a request to the thread, or drops it if the channel is full.
    pub(super) fn put(&self, kept: Kept) {
        if let Err(full) = self.kept.try_send(kept) {
            let spans = span::count(&full.into_inner().record);
            self.counts.dropped.fetch_add(spans, Relaxed);
        }
    }

    pub(super) fn sent(&self) -> u64 {
        self.counts.sent.load(Relaxed)
    }

    pub(super) fn dropped(&self) -> u64 {
        self.counts.dropped.load(Relaxed)
    }
}

/// Handle of the thread, to stop it.
#[derive(Default)]
pub(crate) struct Exporter(Option<Running>);

struct Running {
    stop: oneshot::Sender<()>,
    stopped: oneshot::Receiver<()>,
}

impl Exporter {
    /// Exports the last spans, within a short time limit.
    pub(crate) async fn stop(self) {
        let Some(running) = self.0 else { return };
        // Sending fails if the thread has ended already.
        let _ = running.stop.send(());
        if timeout(STOP_TIMEOUT, running.stopped).await.is_err() {
            tracing::warn!("the last spans are lost: their collector took too long");
        }
    }
}

/// Starts the thread.
///
/// # Errors
/// When the thread can not start, or the address is invalid.
pub(super) fn start(collector: &str) -> anyhow::Result<(Outbox, Exporter)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let otlp = {
        let _inside = runtime.enter();
        otlp(collector).with_context(|| format!("--otlp {collector}"))?
    };
    let (sender, inbox) = mpsc::channel(KEPT_MAX);
    let (stop, stop_requested) = oneshot::channel();
    let (report_stopped, stopped) = oneshot::channel();
    let counts = Arc::<Counts>::default();
    let collector = collector.to_owned();
    let mut worker = Worker {
        inbox,
        runs: Runs::default(),
        otlp,
        collector,
        counts: Arc::clone(&counts),
        logged: None,
    };
    std::thread::Builder::new().name("spans".into()).spawn(move || {
        runtime.block_on(worker.work(stop_requested));
        // Sending fails if the server no longer waits.
        let _ = report_stopped.send(());
    })?;
    Ok((Outbox { kept: sender, counts }, Exporter(Some(Running { stop, stopped }))))
}

fn otlp(collector: &str) -> anyhow::Result<Otlp> {
    let mut otlp = Otlp::builder()
        .with_tonic()
        .with_endpoint(collector)
        .with_timeout(SEND_TIMEOUT)
        .with_retry_policy(RetryPolicy::recommended())
        .build()?;
    otlp.set_resource(&resource());
    Ok(otlp)
}

/// The resource of all spans. `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` add to it.
fn resource() -> Resource {
    let own = [
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("process.pid", i64::from(std::process::id())),
    ];
    let resource = Resource::builder().with_attributes(own);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let resource = match host.trim() {
        "" => resource,
        host => resource.with_attribute(KeyValue::new("host.name", host.to_owned())),
    };
    match std::env::var_os("OTEL_SERVICE_NAME") {
        Some(_) => resource.build(),
        None => resource.with_service_name(SERVICE).build(),
    }
}

/// State of the thread.
struct Worker {
    inbox: mpsc::Receiver<Kept>,
    runs: Runs,
    otlp: Otlp,
    collector: String,
    counts: Arc<Counts>,
    /// Time of the last log line about failing exports.
    logged: Option<Instant>,
}

impl Worker {
    async fn work(&mut self, stop: oneshot::Receiver<()>) {
        let mut stop = pin!(stop);
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_last = tokio::select! {
                biased;
                _ = &mut stop => true,
                _ = ticks.tick() => false,
            };
            let spans = self.spans(is_last);
            self.send(spans).await;
            if is_last {
                return;
            }
        }
    }

    /// Spans of the waiting requests, and of the runs whose members have all ended.
    fn spans(&mut self, is_last: bool) -> Vec<SpanData> {
        let mut spans = Vec::new();
        for _ in 0..KEPT_MAX {
            let Ok(kept) = self.inbox.try_recv() else { break };
            let run = self.runs.link(&kept);
            span::of_request(&kept, run.as_ref(), &mut spans);
        }
        spans.extend(self.runs.take(is_last));
        spans
    }

    /// Exports spans. After a failed message, the others are dropped.
    async fn send(&mut self, mut spans: Vec<SpanData>) {
        while !spans.is_empty() {
            let rest = spans.split_off(spans.len().min(MESSAGE_SPANS));
            let message = std::mem::replace(&mut spans, rest);
            let count = message.len() as u64;
            if let Err(error) = self.otlp.export(message).await {
                let lost = count + spans.len() as u64;
                let lost = self.counts.dropped.fetch_add(lost, Relaxed) + lost;
                self.log_failure(&error, lost);
                return;
            }
            self.counts.sent.fetch_add(count, Relaxed);
        }
    }

    fn log_failure(&mut self, error: &dyn std::error::Error, lost: u64) {
        let is_known = self.logged.is_some_and(|at| at.elapsed() < LOG_PAUSE);
        if !is_known {
            self.logged = Some(Instant::now());
            tracing::warn!("no spans reach {}: {error}; {lost} are lost so far", self.collector);
        }
    }
}
