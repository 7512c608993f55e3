//! Traces for OpenTelemetry: which span a request is, whether it is kept, and who sends it.
//!
//! Nothing is made while a request runs but its ids, for its caller is told them. When it is over,
//! its [`RequestRecord`] says all there is to say, and those few that are kept go through a bounded
//! channel to a thread of their own.

mod export;
mod parent;
mod quantile;
mod runs;
mod sample;
mod span;
mod state;

use crate::config;
pub(crate) use export::Exporter;
use export::{Kept, Outbox};
use http::HeaderMap;
use http::header::HeaderValue;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
use parent::{TRACEPARENT, TraceParent};
use sample::Sampler;
use skysail_engine::request_record::RequestRecord;
use state::TRACESTATE;
use std::num::{NonZeroU64, NonZeroU128};

/// The span of one request.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// What its caller is told; sampled when it is kept whatever comes of it.
    own: TraceParent,
    /// The caller's span, if it has one.
    parent: Option<NonZeroU64>,
    /// What came beside it.
    state: Option<HeaderValue>,
}

impl Context {
    /// The id of its trace.
    pub(crate) fn trace_id(&self) -> u128 {
        self.own.trace.get()
    }
}

/// Tells a caller its request's span, in the headers of the answer.
pub(crate) fn tell(context: Option<&Context>, headers: &mut HeaderMap) {
    let Some(context) = context else { return };
    if let Some(own) = context.own.header() {
        headers.insert(TRACEPARENT, own);
    }
    if let Some(state) = &context.state {
        headers.insert(TRACESTATE, state.clone());
    }
}

/// Traces, or nothing.
#[derive(Default)]
pub(crate) struct Tracing(Option<Box<On>>);

struct On {
    sampler: Sampler,
    outbox: Outbox,
}

/// Begins to trace, if the settings say so.
///
/// # Errors
/// When there is no thread for it, or the collector's address can not be used.
pub(crate) fn start(settings: &config::Tracing) -> anyhow::Result<(Tracing, Exporter)> {
    let Some(collector) = &settings.otlp else {
        return Ok((Tracing::default(), Exporter::default()));
    };
    let (outbox, exporter) = export::start(collector)?;
    let on = On { sampler: Sampler::new(settings.share()), outbox };
    Ok((Tracing(Some(Box::new(on))), exporter))
}

impl Tracing {
    /// The span of a request that came with these headers.
    pub(crate) fn begin(&self, headers: &HeaderMap) -> Option<Context> {
        let on = self.0.as_deref()?;
        let parent = TraceParent::of(headers);
        let state = parent.and_then(|_| state::of(headers));
        Some(on.context(parent, state))
    }

    /// The span of one request of a stream, whose headers gave this.
    pub(crate) fn begin_in_stream(&self, stream: Option<&Context>) -> Option<Context> {
        let (on, stream) = (self.0.as_deref()?, stream?);
        let parent = stream.parent.map(|span| TraceParent { span, ..stream.own });
        Some(on.context(parent, stream.state.clone()))
    }

    /// Keeps a request that is over, if there is a reason.
    pub(crate) fn finish(&self, record: &RequestRecord, context: Option<&Context>) {
        let (Some(on), Some(context)) = (&self.0, context) else { return };
        if let Some(why) = on.sampler.keeps(record, context.own.sampled) {
            on.outbox.put(Kept { record: record.clone(), context: context.clone(), why });
        }
    }

    /// Spans that were thrown away, for there was no room or nobody took them.
    pub(crate) fn dropped(&self) -> u64 {
        self.0.as_ref().map_or(0, |on| on.outbox.dropped())
    }

    /// Spans that the collector took.
    pub(crate) fn sent(&self) -> u64 {
        self.0.as_ref().map_or(0, |on| on.outbox.sent())
    }
}

impl On {
    fn context(&self, parent: Option<TraceParent>, state: Option<HeaderValue>) -> Context {
        let trace = parent.map_or_else(random_trace, |parent| parent.trace);
        let sampled = self.sampler.samples(trace.get(), parent.map(|parent| parent.sampled));
        let own = TraceParent { trace, span: random_span(), sampled };
        Context { own, parent: parent.map(|parent| parent.span), state }
    }
}

/// A random id; 0 would be none, and comes up never.
fn random_trace() -> NonZeroU128 {
    let id = RandomIdGenerator::default().new_trace_id();
    NonZeroU128::new(u128::from_be_bytes(id.to_bytes())).unwrap_or(NonZeroU128::MIN)
}

fn random_span() -> NonZeroU64 {
    let id = RandomIdGenerator::default().new_span_id();
    NonZeroU64::new(u64::from_be_bytes(id.to_bytes())).unwrap_or(NonZeroU64::MIN)
}
