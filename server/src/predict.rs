//! The path of every inference request, once, whatever protocol it came by.

use crate::decode::Decoded;
use crate::server::Server;
use crate::status::Error;
use skysail_engine::Error as EngineError;
use skysail_engine::error::Reason::{self, Cancelled};
use skysail_engine::model::Model;
use skysail_engine::request::Response;
use skysail_engine::stage::Stage;
use skysail_engine::ticket::Ticket;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Which model is asked, and when the request came.
pub(crate) struct Call<'a> {
    /// Its name.
    pub(crate) model: &'a str,
    /// Its version, the newest when none is named.
    pub(crate) version: Option<u64>,
    /// When the request's head was there.
    pub(crate) accepted: Instant,
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
    let _place = server.in_flight().enter()?;
    let model = server.engine().lookup(call.model, call.version)?;
    let mut failure = Failure { model: &model, accepted: call.accepted, reason: Some(Cancelled) };
    let result = run(server, &model, call, decode, respond).await;
    failure.reason = result.as_ref().err().map(|error| server.reason(error));
    result
}

/// Counts a request that fails; one whose caller leaves is dropped in the middle, as cancelled.
struct Failure<'a> {
    model: &'a Model,
    accepted: Instant,
    reason: Option<Reason>,
}

impl Drop for Failure<'_> {
    fn drop(&mut self) {
        if let Some(reason) = self.reason {
            self.model.statistics().record_failure(reason, self.accepted.elapsed());
        }
    }
}

/// Waits for the response. A timeout that passes while every replica is busy is told when it
/// passes, and not when one is free; a request that runs by then is answered.
async fn answer(
    model: &Model,
    ticket: Ticket,
    timeout_us: Option<u64>,
) -> Result<Response, EngineError> {
    let Some(timeout_us) = timeout_us else { return ticket.await };
    let mut ticket = pin!(ticket);
    tokio::select! {
        biased;
        response = &mut ticket => return response,
        () = tokio::time::sleep(Duration::from_micros(timeout_us)) => model.answer_late(),
    }
    ticket.await
}

async fn run<T>(
    server: &Server,
    model: &Arc<Model>,
    call: &Call<'_>,
    decode: impl FnOnce(&Model) -> Result<Decoded, Error>,
    respond: impl FnOnce(Prediction) -> Result<T, Error>,
) -> Result<T, Error> {
    let received = Instant::now();
    let mut decoded = decode(model)?;
    let decoded_at = Instant::now();
    let timeout_us = model.timeout_us(decoded.request.timeout_us);
    let ticket = model.submit(std::mem::take(&mut decoded.request))?;
    let response = answer(model, ticket, timeout_us).await?;
    let answered = Instant::now();
    let stages = response.stages;
    let id = server.trace().wants(model).then(|| decoded.id.clone());
    let answer = respond(Prediction { response, decoded })?;
    let responded = Instant::now();
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
