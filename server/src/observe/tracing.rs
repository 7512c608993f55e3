//! Traces for OpenTelemetry.
//!
//! A request in progress has only its ids, which are sent to its caller. When it ends, spans are made
//! of its [`RequestRecord`]. The few requests that are kept go through a bounded channel to a
//! thread that exports them.

mod context;
mod export;
mod kept;
mod parent;
mod quantile;
mod runs;
mod sample;
mod span;
mod state;

use crate::config;
pub(crate) use context::{Context, write_headers};
use context::{random_span, random_trace};
pub(crate) use export::Exporter;
use export::Outbox;
use http::HeaderMap;
use http::header::HeaderValue;
use kept::Kept;
use parent::TraceParent;
use sample::Sampler;
use skysail_engine::request_record::RequestRecord;

/// Tracing, on or off.
#[derive(Default)]
pub(crate) struct Tracing(Option<Box<Active>>);

struct Active {
    sampler: Sampler,
    outbox: Outbox,
}

/// Starts tracing, if the settings name a collector.
///
/// # Errors
/// When the thread can not start, or the collector's address is invalid.
pub(crate) fn start(settings: &config::Tracing) -> anyhow::Result<(Tracing, Exporter)> {
    let Some(collector) = &settings.otlp else {
        return Ok((Tracing::default(), Exporter::default()));
    };
    let (outbox, exporter) = export::start(collector)?;
    let active = Active { sampler: Sampler::new(settings.share()), outbox };
    Ok((Tracing(Some(Box::new(active))), exporter))
}

impl Tracing {
    /// Starts the span of a request with these headers.
    pub(crate) fn begin(&self, headers: &HeaderMap) -> Option<Context> {
        let active = self.0.as_deref()?;
        let parent = TraceParent::of(headers);
        let state = parent.and_then(|_| state::of(headers));
        Some(active.context(parent, state))
    }

    /// Starts the span of a request in a stream, whose headers gave this context.
    pub(crate) fn begin_in_stream(&self, stream: Option<&Context>) -> Option<Context> {
        let (active, stream) = (self.0.as_deref()?, stream?);
        let parent = stream.parent.map(|span| TraceParent { span, ..stream.own });
        Some(active.context(parent, stream.state.clone()))
    }

    /// Exports a finished request, if there is a reason to keep it.
    pub(crate) fn finish(&self, record: &RequestRecord, context: Option<&Context>) {
        let (Some(active), Some(context)) = (&self.0, context) else { return };
        if let Some(reason) = active.sampler.keeps(record, context.own.sampled) {
            active.outbox.put(Kept { record: record.clone(), context: context.clone(), reason });
        }
    }

    /// Spans that were dropped: the channel was full, or the collector failed.
    pub(crate) fn dropped(&self) -> u64 {
        self.0.as_ref().map_or(0, |active| active.outbox.dropped())
    }

    /// Spans that the collector accepted.
    pub(crate) fn sent(&self) -> u64 {
        self.0.as_ref().map_or(0, |active| active.outbox.sent())
    }
}

impl Active {
    fn context(&self, parent: Option<TraceParent>, state: Option<HeaderValue>) -> Context {
        let trace = parent.map_or_else(random_trace, |parent| parent.trace);
        let sampled = self.sampler.samples(trace.get(), parent.map(|parent| parent.sampled));
        let own = TraceParent { trace, span: random_span(), sampled };
        Context { own, parent: parent.map(|parent| parent.span), state }
    }
}
