//! The spans of one request: the whole, and one for each stage that has ended.

use super::context::random_span;
use super::kept::Kept;
use super::parent::TraceParent;
use http::header::HeaderValue;
use opentelemetry::trace::{Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, TraceId};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use skysail_engine::parameters::{ParameterOwner, ParameterValue};
use skysail_engine::request_record::RequestRecord;
use skysail_engine::stage::Stage;
use std::borrow::Cow;
use std::str::FromStr;
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};

static SCOPE: LazyLock<InstrumentationScope> = LazyLock::new(|| {
    InstrumentationScope::builder("skysail").with_version(env!("CARGO_PKG_VERSION")).build()
});

/// Number of spans of a request.
pub(super) fn count(record: &RequestRecord) -> u64 {
    1 + record.last_stage().map_or(0, |stage| stage as u64 + 1)
}

/// Ids and times of a span.
pub(super) struct Interval {
    pub(super) context: SpanContext,
    pub(super) parent: SpanId,
    pub(super) start: SystemTime,
    pub(super) end: SystemTime,
}

impl Interval {
    /// An internal span.
    pub(super) fn span(self, name: impl Into<Cow<'static, str>>) -> SpanData {
        SpanData {
            span_context: self.context,
            parent_span_id: self.parent,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: name.into(),
            start_time: self.start,
            end_time: self.end,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: SCOPE.clone(),
        }
    }
}

/// Context of a kept span.
pub(super) fn context(own: &TraceParent, state: Option<&HeaderValue>) -> SpanContext {
    let state = state.and_then(|state| TraceState::from_str(state.to_str().ok()?).ok());
    let (trace, span) = (TraceId::from(own.trace.get()), SpanId::from(own.span.get()));
    SpanContext::new(trace, span, TraceFlags::SAMPLED, false, state.unwrap_or_default())
}

/// Converts an instant to wall-clock time.
pub(super) fn wall(at: Instant) -> SystemTime {
    let now = SystemTime::now();
    now.checked_sub(at.elapsed()).unwrap_or(now)
}

/// Adds a request's spans. `run` is the span of its batch.
pub(super) fn of_request(kept: &Kept, run: Option<&SpanContext>, spans: &mut Vec<SpanData>) {
    let context = context(&kept.context.own, kept.context.state.as_ref());
    let accepted = wall(kept.record.accepted);
    spans.push(whole(kept, context.clone(), accepted));
    let mut start = accepted;
    for stage in Stage::ALL {
        let Some(ns) = kept.record.ends.end_ns(stage) else { break };
        let end = accepted + Duration::from_nanos(ns);
        let own = TraceParent { span: random_span(), ..kept.context.own };
        let interval = Interval {
            context: self::context(&own, kept.context.state.as_ref()),
            parent: context.span_id(),
            start,
            end,
        };
        let mut span = interval.span(stage.name());
        if stage == Stage::Execute {
            span.links.links.extend(run.cloned().map(Link::with_context));
        }
        spans.push(span);
        start = end;
    }
}

/// The span of the whole request.
fn whole(kept: &Kept, context: SpanContext, start: SystemTime) -> SpanData {
    let record = &kept.record;
    let parent = kept.context.parent.map_or(SpanId::INVALID, |parent| SpanId::from(parent.get()));
    let end = start + Duration::from_micros(record.total_us());
    let mut span = Interval { context, parent, start, end }.span(format!("infer {}", record.model));
    span.parent_span_is_remote = kept.context.parent.is_some();
    span.span_kind = SpanKind::Server;
    if let Some(reason) = record.outcome.reason() {
        span.status = Status::error(record.explanation());
        span.attributes.push(KeyValue::new("error.type", reason));
    }
    span.attributes.extend(attributes(record));
    span.attributes.push(KeyValue::new("skysail.kept", kept.reason.name()));
    span
}

fn attributes(record: &RequestRecord) -> Vec<KeyValue> {
    let mut attributes = vec![
        KeyValue::new("skysail.model", record.model.to_string()),
        KeyValue::new("skysail.version", number(record.version)),
        KeyValue::new("skysail.request_id", record.request_id.to_string()),
        KeyValue::new("skysail.outcome", record.outcome.name()),
        KeyValue::new("skysail.cause", record.cause.name()),
        KeyValue::new("skysail.explanation", record.explanation()),
    ];
    if let Some(us) = record.objective_us {
        attributes.push(KeyValue::new("skysail.objective_us", number(us)));
    }
    if let Some(cache) = record.cache {
        attributes.push(KeyValue::new("skysail.cache", cache.name()));
    }
    for (owner, name, value) in record.parameters.iter() {
        attributes.push(parameter(owner, name, value));
    }
    if let Some(behind) = record.behind {
        attributes.push(KeyValue::new("skysail.behind.number", number(behind.number)));
        attributes.push(KeyValue::new("skysail.behind.rows", number(behind.rows as u64)));
    }
    attributes
}

/// An attribute for a custom parameter.
fn parameter(owner: ParameterOwner, name: &str, value: ParameterValue<'_>) -> KeyValue {
    let key = format!("skysail.parameters.{owner}{name}");
    match value {
        ParameterValue::Bool(value) => KeyValue::new(key, value),
        ParameterValue::Float(value) => KeyValue::new(key, value),
        ParameterValue::Text(text) => KeyValue::new(key, text.to_owned()),
        ParameterValue::Integer(value) => match i64::try_from(value) {
            Ok(value) => KeyValue::new(key, value),
            Err(_) => KeyValue::new(key, value.to_string()),
        },
        other => KeyValue::new(key, other.to_string()),
    }
}

/// Converts to a signed number, the only kind in attributes.
pub(super) fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
