//! An inference call: the model that it names, and its time limits.

use crate::accept::IoThread;
use crate::observe::tracing::Context;
use crate::server::Server;
use crate::status::Error;
use skysail_engine::request_record::RequestId;
use std::time::{Duration, Instant};

/// Data from the head of an inference request, in any protocol.
pub(crate) struct Call<'a> {
    /// Name of the model.
    pub(crate) model: &'a str,
    /// Version of the model; the server's choice if `None`.
    pub(crate) version: Option<u64>,
    /// Arrival of the request's head.
    pub(crate) accepted: Instant,
    /// Time limit of the call from then on; a later response is of no use to the caller.
    pub(crate) limit: Option<Duration>,
    /// Id in the request's head, if any.
    pub(crate) request_id: Option<RequestId>,
    /// Span of the request, if it is traced.
    pub(crate) trace: Option<&'a Context>,
    /// Total time until then in which models were being loaded, in microseconds.
    pub(crate) loading_us: u64,
    /// Thread that handles the request.
    pub(crate) thread: &'a IoThread,
}

impl<'a> Call<'a> {
    /// A call that arrived at `accepted`, without a limit, an id or a trace.
    pub(crate) fn new(
        server: &Server,
        thread: &'a IoThread,
        (model, version): (&'a str, Option<u64>),
        accepted: Instant,
    ) -> Self {
        let loading_us = server.engine().repository().loading_us(accepted);
        let (limit, request_id, trace) = (None, None, None);
        Self { model, version, accepted, limit, request_id, trace, loading_us, thread }
    }

    /// Key by which a rule splits requests among versions: the same id, the same version.
    pub(crate) fn stable_key(&self) -> u64 {
        self.request_id.map_or(0, |id| id.stable_key())
    }

    /// End of the call, if it has a time limit.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.accepted.checked_add(self.limit?)
    }

    /// The error of a call whose deadline has passed.
    pub(crate) fn deadline_passed(&self) -> Error {
        Error::DeadlinePassed { limit_us: self.limit_us().unwrap_or_default() }
    }

    /// Replaces advice to retry by a passed deadline, if the call is over.
    pub(crate) fn without_late_advice(&self, error: Error) -> Error {
        let is_over = self.deadline().is_some_and(|deadline| deadline <= Instant::now());
        if is_over && error.shed_reason().is_some() { self.deadline_passed() } else { error }
    }

    /// Time limit of the call in microseconds.
    pub(crate) fn limit_us(&self) -> Option<u64> {
        self.limit.map(micros)
    }
}

/// Microseconds of a duration, at most `u64::MAX`.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
