//! The path of every inference request, once, whatever protocol it came by.

use crate::decode::Decoded;
use crate::lag;
use crate::server::Server;
use crate::status::Error;
use skysail_engine::error::{Reason, Refusal};
use skysail_engine::model::Model;
use skysail_engine::request::Response;
use skysail_engine::stage::Stage;
use skysail_engine::ticket::Ticket;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::{sleep_until, timeout_at};

/// Which model is asked, and when the request came.
pub(crate) struct Call<'a> {
    /// Its name.
    pub(crate) model: &'a str,
    /// Its version, the newest when none is named.
    pub(crate) version: Option<u64>,
    /// When the request's head was there.
    pub(crate) accepted: Instant,
    /// How long the call may take from then on; nobody waits for an answer that comes later.
    pub(crate) limit: Option<Duration>,
}

impl Call<'_> {
    fn deadline(&self) -> Option<Instant> {
        self.accepted.checked_add(self.limit?)
    }

    fn limit_us(&self) -> Option<u64> {
        self.limit.map(|limit| u64::try_from(limit.as_micros()).unwrap_or(u64::MAX))
    }

    /// How long a request may wait, if anybody says so. The call's limit shortens what the request
    /// or the model says, its objective among that, and never lengthens it.
    fn timeout_us(&self, model: &Model, own: Option<u64>) -> Option<u64> {
        let said = model.timeout_us(own);
        let limit = self.limit_us();
        let objective = model.objective_us().filter(|_| said.is_none());
        match (objective, limit) {
            (Some(objective), Some(limit)) if objective <= limit => None,
            _ => said.into_iter().chain(limit).min(),
        }
    }

    fn deadline_passed(&self) -> Error {
        Error::DeadlinePassed { limit_us: self.limit_us().unwrap_or_default() }
    }

    /// To try again is no advice for a call whose deadline is over.
    fn advise(&self, error: Error) -> Error {
        let is_over = self.deadline().is_some_and(|deadline| deadline <= Instant::now());
        if is_over && error.refusal().is_some() { self.deadline_passed() } else { error }
    }
}

/// A prediction, to be written in the protocol's way.
pub(crate) struct Prediction {
    /// What the model gave.
    pub(crate) response: Response,
    /// How the caller wants it.
    pub(crate) decoded: Decoded,
}

/// Decodes, admits, queues, runs and responds, and counts what came of it.
///
/// # Errors
/// The first stage that refuses or fails says why.
pub(crate) async fn predict<T>(
    server: &Server,
    call: &Call<'_>,
    decode: impl FnOnce(&Model) -> Result<Decoded, Error>,
    respond: impl FnOnce(Prediction) -> Result<T, Error>,
) -> Result<T, Error> {
    let model = server.engine().lookup(call.model, call.version)?;
    let mut failure = Failure::of(&model, call);
    let result = run(server, &model, call, decode, respond).await;
    let result = result.map_err(|error| call.advise(error));
    failure.is(server, result.as_ref().err());
    result
}

/// Counts a request that fails before its model is looked at.
pub(crate) fn count_failure(server: &Server, call: &Call<'_>, error: &Error) {
    if let Ok(model) = server.engine().lookup(call.model, call.version) {
        Failure::of(&model, call).is(server, Some(error));
    }
}

/// Counts a request that fails; one whose caller leaves is dropped in the middle, as cancelled.
struct Failure<'a> {
    model: &'a Model,
    accepted: Instant,
    reason: Option<Reason>,
    refusal: Option<Refusal>,
}

impl<'a> Failure<'a> {
    fn of(model: &'a Model, call: &Call<'_>) -> Self {
        Self { model, accepted: call.accepted, reason: Some(Reason::Cancelled), refusal: None }
    }

    /// It is this error, or none.
    fn is(&mut self, server: &Server, error: Option<&Error>) {
        self.reason = error.map(|error| server.reason(error));
        self.refusal = error.and_then(Error::refusal);
    }
}

impl Drop for Failure<'_> {
    fn drop(&mut self) {
        if let Some(reason) = self.reason {
            self.model.statistics().record_failure(reason, self.accepted.elapsed());
        }
        if let Some(refusal) = self.refusal {
            lag::refused();
            self.model.statistics().record_refusal(refusal);
        }
    }
}

/// Waits for the response. A timeout that passes while every replica is busy is told when it
/// passes, and not when one is free; a request that runs by then is answered, unless the call
/// itself is over.
async fn answer(
    model: &Model,
    ticket: Ticket,
    call: &Call<'_>,
    timeout_us: Option<u64>,
) -> Result<Response, Error> {
    let mut ticket = pin!(ticket);
    if let Some(late) = timeout_us.and_then(|us| call.accepted.checked_add(micros_after(us))) {
        tokio::select! {
            biased;
            response = &mut ticket => return Ok(response?),
            () = sleep_until(late.into()) => model.answer_late(),
        }
    }
    let Some(deadline) = call.deadline() else { return Ok(ticket.await?) };
    match timeout_at(deadline.into(), ticket).await {
        Ok(response) => Ok(response?),
        Err(_) => Err(call.deadline_passed()),
    }
}

/// The first moment that is later than so many microseconds.
fn micros_after(us: u64) -> Duration {
    Duration::from_micros(us.saturating_add(1))
}

async fn run<T>(
    server: &Server,
    model: &Arc<Model>,
    call: &Call<'_>,
    decode: impl FnOnce(&Model) -> Result<Decoded, Error>,
    respond: impl FnOnce(Prediction) -> Result<T, Error>,
) -> Result<T, Error> {
    let _place = server.in_flight().enter()?;
    let (received, arrived) = (Instant::now(), lag::arrival());
    let mut decoded = decode(model)?;
    let decoded_at = Instant::now();
    let mut request = std::mem::take(&mut decoded.request);
    (request.accepted, request.received) = (Some(call.accepted), Some(arrived));
    let timeout_us = call.timeout_us(model, request.timeout_us);
    request.timeout_us = timeout_us;
    let ticket = model.submit(request)?;
    let response = answer(model, ticket, call, timeout_us).await?;
    let answered = Instant::now();
    let stages = response.stages;
    let id = server.trace().wants(model).then(|| decoded.id.clone());
    let answer = respond(Prediction { response, decoded })?;
    let responded = Instant::now();
    model.responded(&stages, responded);
    let statistics = model.statistics();
    statistics.record_stage(Stage::Accept, received - call.accepted);
    statistics.record_stage(Stage::Decode, decoded_at - received);
    statistics.record_stage(Stage::Admit, stages.queued - decoded_at);
    statistics.record_stage(Stage::Queue, stages.queue());
    statistics.record_stage(Stage::Batch, stages.gathered - stages.batched);
    statistics.record_stage(Stage::Execute, stages.executed - stages.gathered);
    statistics.record_stage(Stage::Respond, responded - answered);
    if let Some(id) = id {
        server.trace().record(model, &id, call.accepted, &stages, responded);
    }
    Ok(answer)
}
