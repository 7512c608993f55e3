//! The path of every inference request, once, whatever protocol it came by.

use crate::decode::Decoded;
use crate::journeys::{Answer, Way};
use crate::lag;
use crate::request_log;
use crate::server::Server;
use crate::spans::Context;
use crate::status::Error;
use skysail_engine::endpoint::Endpoint;
use skysail_engine::request::{Response, Stages};
use skysail_engine::request_record::RequestId;
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
    /// The request's name in its head, if it has one there.
    pub(crate) request_id: Option<RequestId>,
    /// Its span, if it is traced.
    pub(crate) trace: Option<&'a Context>,
    /// For how long models had been loaded by then.
    pub(crate) loading_us: u64,
}

impl<'a> Call<'a> {
    /// Of a request whose head was there at a time, and says no more.
    pub(crate) fn new(
        server: &Server,
        model: &'a str,
        version: Option<u64>,
        accepted: Instant,
    ) -> Self {
        let loading_us = server.engine().repository().loading_us(accepted);
        Self { model, version, accepted, limit: None, request_id: None, trace: None, loading_us }
    }
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
    fn timeout_us(&self, endpoint: &Endpoint, own: Option<u64>) -> Option<u64> {
        let said = endpoint.timeout_us(own);
        let limit = self.limit_us();
        let objective = endpoint.objective_us().filter(|_| said.is_none());
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

/// Decodes, admits, queues, runs and responds, and notes what came of it.
///
/// # Errors
/// The first stage that refuses or fails says why.
pub(crate) async fn predict<T: Answer>(
    server: &Arc<Server>,
    call: &Call<'_>,
    decode: impl FnOnce(&Endpoint) -> Result<Decoded, Error>,
    respond: impl FnOnce(Prediction) -> Result<T, Error>,
) -> Result<T, Error> {
    let endpoint = server.engine().lookup(call.model, call.version).map_err(Error::from);
    let endpoint = endpoint.inspect_err(|error| request_log::unknown(server, call, error))?;
    let mut way = Way::begin(server, &endpoint, call);
    match run(&mut way, decode, respond).await {
        Ok((mut answer, done)) => {
            way.answered(&done.stages, done.responded, &mut answer);
            Ok(answer)
        }
        Err(error) => {
            let error = call.advise(error);
            way.failed(&error);
            Err(error)
        }
    }
}

/// When an answered request was where.
struct Done {
    stages: Stages,
    responded: Instant,
}

/// Waits for the response. A timeout that passes while every replica is busy is told when it
/// passes, and not when one is free; a request that runs by then is answered, unless the call
/// itself is over.
async fn answer(
    endpoint: &Endpoint,
    ticket: Ticket,
    call: &Call<'_>,
    timeout_us: Option<u64>,
) -> Result<Response, Error> {
    let mut ticket = pin!(ticket);
    if let Some(late) = timeout_us.and_then(|us| call.accepted.checked_add(micros_after(us))) {
        tokio::select! {
            biased;
            response = &mut ticket => return Ok(response?),
            () = sleep_until(late.into()) => endpoint.expire(),
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
    way: &mut Way<'_>,
    decode: impl FnOnce(&Endpoint) -> Result<Decoded, Error>,
    respond: impl FnOnce(Prediction) -> Result<T, Error>,
) -> Result<(T, Done), Error> {
    let (server, endpoint, call) = (way.server(), way.endpoint(), way.call());
    let _place = server.in_flight().enter()?;
    let (received, arrived) = (Instant::now(), lag::arrival());
    way.received(received, arrived);
    let mut decoded = decode(endpoint)?;
    way.decoded(&decoded.id);
    let mut request = std::mem::take(&mut decoded.request);
    (request.accepted, request.received) = (Some(call.accepted), Some(arrived));
    let timeout_us = call.timeout_us(endpoint, request.timeout_us);
    request.timeout_us = timeout_us;
    lag::given(timeout_us.or_else(|| endpoint.objective_us()));
    let ticket = endpoint.submit(request)?;
    way.queued(&ticket);
    let response = answer(endpoint, ticket, call, timeout_us).await?;
    let stages = response.stages;
    let id = server.trace().wants(endpoint).then(|| decoded.id.clone());
    let answer = respond(Prediction { response, decoded })?;
    let responded = Instant::now();
    endpoint.responded(&stages, responded);
    if let Some(id) = id {
        server.trace().record(endpoint, &id, call.accepted, &stages, responded);
    }
    Ok((answer, Done { stages, responded }))
}
