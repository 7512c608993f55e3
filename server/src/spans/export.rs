//! The thread that sends spans to a collector, and the bounded way to it.
//!
//! It wakes by the clock and not for each request, so a request pays for nothing but a place in the
//! channel, and what is kept in a tick is bounded by the channel's size: an overload whose every
//! request fails costs no more than that.

use super::Context;
use super::runs::Runs;
use super::sample::Why;
use super::span;
use anyhow::Context as _;
use opentelemetry::KeyValue;
use opentelemetry_otlp::{RetryPolicy, SpanExporter as Otlp, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use skysail_engine::request_record::RequestRecord;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Requests that wait to be sent.
const KEPT_MAX: usize = 2048;

/// How often they are.
const TICK: Duration = Duration::from_millis(500);

/// How long the collector may take, tries and all.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the server's end waits for the last spans to be sent.
const STOP_TIMEOUT: Duration = Duration::from_millis(500);

/// Spans of a message: some hundred kilobytes.
const MESSAGE_SPANS: usize = 2048;

/// Between two lines of the log that say that spans can not be sent.
const LOG_PAUSE: Duration = Duration::from_secs(60);

/// The service's name where the environment gives no other.
const SERVICE: &str = "skysail-server";

/// A request that is over, to be sent.
pub(super) struct Kept {
    pub(super) record: RequestRecord,
    pub(super) context: Context,
    pub(super) why: Why,
}

/// The way to the thread.
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
    /// Gives a request to the thread, or drops it where there is no room.
    pub(super) fn put(&self, kept: Kept) {
        if let Err(refused) = self.kept.try_send(kept) {
            let spans = span::count(&refused.into_inner().record);
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

/// The thread, to be told when the server ends.
#[derive(Default)]
pub(crate) struct Exporter(Option<Running>);

struct Running {
    stop: oneshot::Sender<()>,
    stopped: oneshot::Receiver<()>,
}

impl Exporter {
    /// Sends what is left, as far as that takes but a moment.
    pub(crate) async fn stop(self) {
        let Some(running) = self.0 else { return };
        // The thread is gone already when nobody hears it.
        let _ = running.stop.send(());
        if timeout(STOP_TIMEOUT, running.stopped).await.is_err() {
            tracing::warn!("the last spans are lost: their collector took too long");
        }
    }
}

/// Starts the thread.
///
/// # Errors
/// When there is none, or the address is none of a collector.
pub(super) fn start(collector: &str) -> anyhow::Result<(Outbox, Exporter)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let otlp = {
        let _inside = runtime.enter();
        otlp(collector).with_context(|| format!("--otlp {collector}"))?
    };
    let (sender, inbox) = mpsc::channel(KEPT_MAX);
    let (stop, told) = oneshot::channel();
    let (tell, stopped) = oneshot::channel();
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
        runtime.block_on(worker.work(told));
        // Nobody waits any more when the server was in a hurry.
        let _ = tell.send(());
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

/// Whose spans they are; `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` say more.
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

/// What the thread has.
struct Worker {
    inbox: mpsc::Receiver<Kept>,
    runs: Runs,
    otlp: Otlp,
    collector: String,
    counts: Arc<Counts>,
    /// When the log last said that spans can not be sent.
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

    /// The spans of what has come, and of the batches that all members have left.
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

    /// Sends spans. When a message can not be sent, neither can the others.
    async fn send(&mut self, mut spans: Vec<SpanData>) {
        while !spans.is_empty() {
            let rest = spans.split_off(spans.len().min(MESSAGE_SPANS));
            let message = std::mem::replace(&mut spans, rest);
            let count = message.len() as u64;
            if let Err(error) = self.otlp.export(message).await {
                let lost = count + spans.len() as u64;
                let lost = self.counts.dropped.fetch_add(lost, Relaxed) + lost;
                self.complain(&error, lost);
                return;
            }
            self.counts.sent.fetch_add(count, Relaxed);
        }
    }

    fn complain(&mut self, error: &dyn std::error::Error, lost: u64) {
        let is_known = self.logged.is_some_and(|at| at.elapsed() < LOG_PAUSE);
        if !is_known {
            self.logged = Some(Instant::now());
            tracing::warn!("no spans reach {}: {error}; {lost} are lost so far", self.collector);
        }
    }
}
