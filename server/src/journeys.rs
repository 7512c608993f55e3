//! What becomes of each inference request is noted here once, whatever protocol it came by and
//! however it ends: counted, kept if it was slow, told to those who trace, and logged if it got no
//! answer.

use crate::lag;
use crate::predict::Call;
use crate::request_log;
use crate::server::Server;
use crate::spans::Context;
use crate::status::Error;
use skysail_engine::cause::{BlockingBatch, Cause};
use skysail_engine::endpoint::Endpoint;
use skysail_engine::error::Reason;
use skysail_engine::observe::statistics::Statistics;
use skysail_engine::request::Stages;
use skysail_engine::request_record::{Ends, Outcome, RequestId, RequestRecord};
use skysail_engine::ticket::Ticket;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An answer on its way to its client.
pub(crate) trait Answer {
    /// Whether it takes time to be read, and will know when that is over.
    fn sees_its_end(&self) -> bool;

    /// Takes the end of its record along.
    fn take_along(&mut self, ending: Arc<Ending>);
}

/// A record that is over when its client has the whole answer: when this is dropped.
pub(crate) struct Ending {
    server: Arc<Server>,
    statistics: Arc<Statistics>,
    record: RequestRecord,
    trace: Option<Context>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.record.written_us = Some(micros(self.record.accepted.elapsed()));
        self.server.finish(&self.statistics, &mut self.record, self.trace.as_ref());
    }
}

/// A record that goes on. One whose caller leaves is dropped in the middle, as cancelled.
pub(crate) struct Way<'a> {
    server: &'a Arc<Server>,
    endpoint: &'a Arc<Endpoint>,
    call: &'a Call<'a>,
    ends: Ends,
    id: Option<RequestId>,
    /// When all of it was there, as far as its client is concerned.
    arrived: Option<Instant>,
    behind: Option<BlockingBatch>,
    is_over: bool,
}

impl<'a> Way<'a> {
    pub(crate) fn begin(
        server: &'a Arc<Server>,
        endpoint: &'a Arc<Endpoint>,
        call: &'a Call<'a>,
    ) -> Self {
        let id = call.request_id;
        let (ends, arrived, behind, is_over) = (Ends::NONE, None, None, false);
        Self { server, endpoint, call, ends, id, arrived, behind, is_over }
    }

    pub(crate) fn server(&self) -> &'a Arc<Server> {
        self.server
    }

    pub(crate) fn endpoint(&self) -> &'a Arc<Endpoint> {
        self.endpoint
    }

    pub(crate) fn call(&self) -> &'a Call<'a> {
        self.call
    }

    /// All of it is there, and has been for as long as its thread was busy elsewhere.
    pub(crate) fn received(&mut self, received: Instant, arrived: Instant) {
        self.arrived = Some(arrived);
        self.ends.push(self.since(received));
    }

    /// It is decoded, with this name, if it has one.
    pub(crate) fn decoded(&mut self, id: &str) {
        if !id.is_empty() {
            self.id = Some(RequestId::of_caller(id));
        }
        self.ends.push(self.since(Instant::now()));
    }

    /// It waits for its turn.
    pub(crate) fn queued(&mut self, ticket: &Ticket) {
        self.behind = ticket.behind();
        self.ends.push(self.since(ticket.queued()));
    }

    /// It is answered.
    pub(crate) fn answered(
        mut self,
        stages: &Stages,
        responded: Instant,
        answer: &mut impl Answer,
    ) {
        self.is_over = true;
        let (server, statistics) = (self.server, self.endpoint.statistics());
        let objective = self.endpoint.objective_us().map(Duration::from_micros);
        let took = self.arrived.map(|arrived| responded.saturating_duration_since(arrived));
        let missed = objective.is_some() && took > objective;
        statistics.record_answer(missed);
        if !server.keeps_records() {
            return;
        }
        let ends = [stages.batched, stages.gathered, stages.executed, responded];
        // The cache may have put it into the queue later.
        self.ends.replace_last(self.since(stages.queued));
        ends.into_iter().for_each(|end| self.ends.push(self.since(end)));
        let outcome = if missed { Outcome::Missed } else { Outcome::Answered };
        let mut record = self.record(outcome, responded);
        record.run = stages.run;
        (record.behind, record.ahead, record.cache) = (stages.behind, stages.ahead, stages.cache);
        if !answer.sees_its_end() {
            return server.finish(statistics, &mut record, self.call.trace);
        }
        answer.take_along(Arc::new(Ending {
            server: Arc::clone(server),
            statistics: Arc::clone(statistics),
            record,
            trace: self.call.trace.cloned(),
        }));
    }

    /// It gets no answer.
    pub(crate) fn failed(mut self, error: &Error) {
        let outcome = match error.refusal() {
            Some(refusal) => Outcome::Refused(refusal),
            None => Outcome::Failed(self.server.reason(error)),
        };
        self.unanswered(outcome, self.server.reason(error), Some(error));
    }

    fn unanswered(&mut self, outcome: Outcome, reason: Reason, error: Option<&Error>) {
        self.is_over = true;
        let statistics = self.endpoint.statistics();
        let mut record = self.record(outcome, Instant::now());
        statistics.record_failure(reason, Duration::from_micros(record.ended_us));
        if let Outcome::Refused(refusal) = outcome {
            lag::refused();
            statistics.record_refusal(refusal);
        }
        self.server.finish(statistics, &mut record, self.call.trace);
        request_log::unanswered(self.server, statistics, &record, error);
    }

    /// What is known of it by now.
    fn record(&self, outcome: Outcome, ended: Instant) -> RequestRecord {
        let Call { accepted, loading_us, trace, .. } = *self.call;
        let sent = self.arrived.unwrap_or(ended).saturating_duration_since(accepted);
        let loading = self.server.engine().repository().loading_us(ended);
        RequestRecord {
            model: Arc::clone(self.endpoint.name()),
            version: self.endpoint.version(),
            request_id: self.id.unwrap_or_else(RequestId::own),
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

impl Drop for Way<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.unanswered(Outcome::Failed(Reason::Cancelled), Reason::Cancelled, None);
        }
    }
}

/// Notes a request that fails before its model is looked at.
pub(crate) fn failed_early(server: &Arc<Server>, call: &Call<'_>, error: &Error) {
    if let Ok(endpoint) = server.engine().lookup(call.model, call.version) {
        Way::begin(server, &endpoint, call).failed(error);
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
