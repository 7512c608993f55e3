//! Follows one inference request to its end and records it once, whatever the protocol or outcome.
//!
//! A finished request is counted, kept if it was slow, traced, and logged if it has no response.

use super::request_log;
use super::tracing::Context;
use crate::call::{Call, micros};
use crate::decode::Decoded;
use crate::server::Server;
use crate::status::Error;
use skysail_engine::cause::{BlockingBatch, Cause};
use skysail_engine::endpoint::{Endpoint, ServedOutcome};
use skysail_engine::error::Reason;
use skysail_engine::observe::statistics::Statistics;
use skysail_engine::parameters::CustomParameters;
use skysail_engine::request::Stages;
use skysail_engine::request_record::{Ends, Outcome, RequestId, RequestRecord};
use skysail_engine::ticket::Ticket;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A response that can report when it has been written to its client.
pub(crate) trait TrackedResponse {
    /// True if writing takes long enough to matter.
    fn reports_write_completion(&self) -> bool;

    /// Attaches the completion, which is to be dropped when the response is written.
    fn attach(&mut self, completion: Arc<WriteCompletion>);
}

/// The record of a request whose response is being written. Dropping it finishes the record.
pub(crate) struct WriteCompletion {
    server: Arc<Server>,
    statistics: Arc<Statistics>,
    record: RequestRecord,
    trace: Option<Context>,
}

impl Drop for WriteCompletion {
    fn drop(&mut self) {
        self.record.written_us = Some(micros(self.record.accepted.elapsed()));
        self.server.finish(&self.statistics, &mut self.record, self.trace.as_ref());
    }
}

/// Tracks a request in progress. Dropped before its end, it records a cancelled request.
pub(crate) struct RequestTracker<'a> {
    server: &'a Arc<Server>,
    endpoint: &'a Arc<Endpoint>,
    call: &'a Call<'a>,
    ends: Ends,
    /// Time from acceptance until the inputs were decoded.
    decoded: Duration,
    /// The request was given to the engine.
    is_queued: bool,
    id: Option<RequestId>,
    parameters: CustomParameters,
    /// Arrival of the last byte in the socket, if all of the request is there.
    arrived: Option<Instant>,
    behind: Option<BlockingBatch>,
    is_over: bool,
}

impl<'a> RequestTracker<'a> {
    pub(crate) fn begin(
        server: &'a Arc<Server>,
        endpoint: &'a Arc<Endpoint>,
        call: &'a Call<'a>,
    ) -> Self {
        let id = call.request_id;
        Self {
            server,
            endpoint,
            call,
            ends: Ends::NONE,
            decoded: Duration::ZERO,
            is_queued: false,
            id,
            parameters: CustomParameters::default(),
            arrived: None,
            behind: None,
            is_over: false,
        }
    }

    /// Marks the whole request as read at `received`, and as in its socket since `arrived`.
    pub(crate) fn received(&mut self, received: Instant, arrived: Instant) {
        self.arrived = Some(arrived);
        self.ends.push(self.since(received));
    }

    /// Marks the request as decoded. A non-empty id in it replaces the id of its head.
    pub(crate) fn decoded(&mut self, decoded: &Decoded) {
        if !decoded.id.is_empty() {
            self.id = Some(RequestId::of_caller(&decoded.id));
        }
        self.parameters = decoded.request.parameters.clone();
        self.decoded = self.since(Instant::now());
        self.ends.push(self.decoded);
    }

    /// Marks the request as queued.
    pub(crate) fn queued(&mut self, ticket: &Ticket) {
        self.is_queued = true;
        self.behind = ticket.behind();
        self.ends.push(self.since(ticket.queued()));
    }

    /// Records a request with a response, now or when a slow response has been written.
    pub(crate) fn complete(
        mut self,
        stages: &Stages,
        responded: Instant,
        response: &mut impl TrackedResponse,
    ) {
        self.is_over = true;
        let (server, statistics) = (self.server, self.endpoint.statistics());
        let objective = self.endpoint.objective_us().map(Duration::from_micros);
        let latency = self.arrived.map(|arrived| responded.saturating_duration_since(arrived));
        let missed = objective.is_some() && latency > objective;
        statistics.record_answer(missed, self.since(stages.split).saturating_sub(self.decoded));
        let latency_us = micros(latency.unwrap_or_default());
        self.endpoint.observe(ServedOutcome::Completed { latency_us });
        if !server.keeps_request_records() {
            return;
        }
        let ends = [stages.batched, stages.gathered, stages.executed, responded];
        // The cache may have queued the request later.
        self.ends.replace_last(self.since(stages.queued));
        ends.into_iter().for_each(|end| self.ends.push(self.since(end)));
        let outcome = if missed { Outcome::Missed } else { Outcome::Answered };
        let mut record = self.record(outcome, responded);
        record.run = stages.run;
        (record.behind, record.ahead, record.cache) = (stages.behind, stages.ahead, stages.cache);
        if !response.reports_write_completion() {
            return server.finish(statistics, &mut record, self.call.trace);
        }
        response.attach(Arc::new(WriteCompletion {
            server: Arc::clone(server),
            statistics: Arc::clone(statistics),
            record,
            trace: self.call.trace.cloned(),
        }));
    }

    /// Records a request that was shed or failed.
    pub(crate) fn fail(mut self, error: &Error) {
        let reason = match (self.server.reason(error), error) {
            // It ran, and its response can not be given as asked.
            (Reason::Rejected, Error::Malformed(_)) if self.is_queued => Reason::Other,
            (reason, _) => reason,
        };
        let shed = error.shed_reason().map(Outcome::Shed);
        self.finish_without_response(shed.unwrap_or(Outcome::Failed(reason)), reason, Some(error));
    }

    fn finish_without_response(&mut self, outcome: Outcome, reason: Reason, error: Option<&Error>) {
        self.is_over = true;
        let statistics = self.endpoint.statistics();
        let mut record = self.record(outcome, Instant::now());
        statistics.record_failure(reason, Duration::from_micros(record.ended_us));
        let served = match outcome {
            Outcome::Shed(reason) => {
                statistics.record_shed(reason);
                ServedOutcome::Shed
            }
            _ => ServedOutcome::Failed,
        };
        self.endpoint.observe(served);
        self.server.finish(statistics, &mut record, self.call.trace);
        request_log::without_response(self.server, statistics, &record, error);
    }

    /// The record as far as it is known at `ended`.
    fn record(&self, outcome: Outcome, ended: Instant) -> RequestRecord {
        let Call { accepted, loading_us, trace, .. } = *self.call;
        let sent = self.arrived.unwrap_or(ended).saturating_duration_since(accepted);
        let loading = self.server.engine().repository().loading_us(ended);
        RequestRecord {
            model: Arc::clone(self.endpoint.name()),
            version: self.endpoint.version(),
            request_id: self.id.unwrap_or_else(RequestId::own),
            parameters: self.parameters.clone(),
            trace_id: trace.map(Context::trace_id),
            accepted,
            ends: self.ends,
            ended_us: micros(self.since(ended)),
            written_us: None,
            outcome,
            run: None,
            behind: self.behind,
            ahead: 0,
            cache: None,
            objective_us: self.endpoint.objective_us(),
            sending_us: micros(sent),
            loading_us: loading.saturating_sub(loading_us),
            cause: Cause::Ordinary,
        }
    }

    fn since(&self, time: Instant) -> Duration {
        time.saturating_duration_since(self.call.accepted)
    }
}

impl Drop for RequestTracker<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            let outcome = Outcome::Failed(Reason::Cancelled);
            self.finish_without_response(outcome, Reason::Cancelled, None);
        }
    }
}
