//! The span of one request: its ids, its parent, and the state that it passes on.

use super::parent::{TRACEPARENT, TraceParent};
use super::state::TRACESTATE;
use http::HeaderMap;
use http::header::HeaderValue;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
use std::num::{NonZeroU64, NonZeroU128};

/// The span of one request.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// Span in the response's headers. It is marked as sampled if it is kept in any case.
    pub(super) own: TraceParent,
    /// Span of the caller, if any.
    pub(super) parent: Option<NonZeroU64>,
    /// State of other tracing systems, from the caller.
    pub(super) state: Option<HeaderValue>,
}

impl Context {
    /// Id of the trace.
    pub(crate) fn trace_id(&self) -> u128 {
        self.own.trace.get()
    }
}

/// Writes a request's span into the headers of its response.
pub(crate) fn write_headers(context: Option<&Context>, headers: &mut HeaderMap) {
    let Some(context) = context else { return };
    if let Some(own) = context.own.header() {
        headers.insert(TRACEPARENT, own);
    }
    if let Some(state) = &context.state {
        headers.insert(TRACESTATE, state.clone());
    }
}

/// A random trace id. An id of 0 is invalid, and never generated.
pub(super) fn random_trace() -> NonZeroU128 {
    let id = RandomIdGenerator::default().new_trace_id();
    NonZeroU128::new(u128::from_be_bytes(id.to_bytes())).unwrap_or(NonZeroU128::MIN)
}

/// A random span id.
pub(super) fn random_span() -> NonZeroU64 {
    let id = RandomIdGenerator::default().new_span_id();
    NonZeroU64::new(u64::from_be_bytes(id.to_bytes())).unwrap_or(NonZeroU64::MIN)
}
