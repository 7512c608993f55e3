//! The path of every inference request, the same for all protocols.

use crate::call::Call;
use crate::classification;
use crate::decode::Decoded;
use crate::observe::request_log;
use crate::observe::tracker::{RequestTracker, TrackedResponse};
use crate::server::Server;
use crate::shared_memory::Windows;
use crate::status::Error;
use skysail_engine::endpoint::Endpoint;
use skysail_engine::model::TimeLimits;
use skysail_engine::request::{Response, Stages};
use skysail_engine::ticket::Ticket;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::{sleep_until, timeout_at};

/// A prediction, to be encoded for its protocol.
pub(crate) struct Prediction {
    /// Response of the model.
    pub(crate) response: Response,
    /// Encoding that the caller asked for.
    pub(crate) decoded: Decoded,
}

/// Decodes, submits, runs and responds, and records the outcome.
///
/// # Errors
/// The error of the first stage that fails or sheds the request.
pub(crate) async fn predict<T: TrackedResponse>(
    server: &Arc<Server>,
    call: &Call<'_>,
    decode: impl FnOnce(&Endpoint) -> Result<Decoded, Error>,
    respond: impl FnOnce(Prediction) -> Result<T, Error>,
) -> Result<T, Error> {
    let endpoint = server.engine().route(call.model, call.version, call.stable_key());
    let endpoint = endpoint.map_err(Error::from);
    let endpoint = endpoint.inspect_err(|error| without_model(server, call, error))?;
    let mut tracker = RequestTracker::begin(server, &endpoint, call);
    match run(server, &endpoint, call, &mut tracker, decode, respond).await {
        Ok((mut response, Done { stages, responded })) => {
            tracker.complete(&stages, responded, &mut response);
            Ok(response)
        }
        Err(error) => {
            let error = call.without_late_advice(error);
            pause_if_shed(call, &error);
            tracker.fail(&error);
            Err(error)
        }
    }
}

/// Records a request that failed before it was handed to [`predict`].
pub(crate) fn failed_early(server: &Arc<Server>, call: &Call<'_>, error: &Error) {
    match server.engine().route(call.model, call.version, call.stable_key()) {
        Ok(endpoint) => {
            pause_if_shed(call, error);
            RequestTracker::begin(server, &endpoint, call).fail(error);
        }
        Err(unknown) => without_model(server, call, &unknown.into()),
    }
}

/// Counts and logs a request whose model or version does not serve.
fn without_model(server: &Server, call: &Call<'_>, error: &Error) {
    server.count_without_model();
    request_log::unknown_model(server, call, error);
}

/// A request whose bytes still arrive. Dropped before they have, it records a cancelled request.
pub(crate) struct Arriving<'a> {
    server: &'a Arc<Server>,
    call: &'a Call<'a>,
    has_arrived: bool,
}

impl<'a> Arriving<'a> {
    pub(crate) fn new(server: &'a Arc<Server>, call: &'a Call<'a>) -> Self {
        Self { server, call, has_arrived: false }
    }

    /// Ends the arrival, and records a request that failed in it.
    pub(crate) fn end<T>(mut self, result: Result<T, Error>) -> Result<T, Error> {
        self.has_arrived = true;
        result.inspect_err(|error| failed_early(self.server, self.call, error))
    }
}

impl Drop for Arriving<'_> {
    fn drop(&mut self) {
        if !self.has_arrived {
            let error = Error::BodyBroken("the client left".into());
            failed_early(self.server, self.call, &error);
        }
    }
}

/// Tells the I/O thread that it sheds requests, so that it pauses before it polls again.
fn pause_if_shed(call: &Call<'_>, error: &Error) {
    if error.shed_reason().is_some() {
        call.thread.pause().on_rejection();
    }
}

/// Times of a completed request.
struct Done {
    stages: Stages,
    responded: Instant,
}

async fn run<T>(
    server: &Server,
    endpoint: &Endpoint,
    call: &Call<'_>,
    tracker: &mut RequestTracker<'_>,
    decode: impl FnOnce(&Endpoint) -> Result<Decoded, Error>,
    respond: impl FnOnce(Prediction) -> Result<T, Error>,
) -> Result<(T, Done), Error> {
    let _permit = server.in_flight().try_acquire()?;
    let (received, arrived) = (Instant::now(), call.thread.clock().arrival());
    tracker.received(received, arrived);
    let mut decoded = decode(endpoint)?;
    let windows = Windows::open(server, &mut decoded)?;
    classification::check(endpoint, &decoded)?;
    tracker.decoded(&decoded);
    let _strings = server.budget().charge_strings(&decoded.request.inputs)?;
    let mut request = std::mem::take(&mut decoded.request);
    (request.accepted, request.received) = (Some(call.accepted), Some(arrived));
    request.limit_us = call.limit_us();
    let limits = endpoint.time_limits(&request);
    call.thread.pause().on_request(limits.timeout_us.or(limits.objective_us));
    let ticket = endpoint.submit(request)?;
    tracker.queued(&ticket);
    let mut response = wait_for_response(endpoint, ticket, call, limits).await?;
    let stages = response.stages;
    let id = server.trace().wants(endpoint).then(|| decoded.id.clone());
    classification::classify_outputs(endpoint, &mut response, &decoded)?;
    windows.store(&mut response)?;
    let response = respond(Prediction { response, decoded })?;
    let responded = Instant::now();
    endpoint.responded(&stages, responded);
    if let Some(id) = id {
        server.trace().record(endpoint, &id, call.accepted, &stages, responded);
    }
    Ok((response, Done { stages, responded }))
}

/// Waits for the response.
///
/// A timeout that passes while every replica is busy is reported when it passes, not when a
/// replica is free. So is the time in the queue. A request that runs by then is answered, unless
/// the call itself is over.
async fn wait_for_response(
    endpoint: &Endpoint,
    ticket: Ticket,
    call: &Call<'_>,
    limits: TimeLimits,
) -> Result<Response, Error> {
    let after = |start: Instant, us: Option<u64>| start.checked_add(just_after(us?));
    let response = after(call.accepted, limits.timeout_us);
    let mut late = [after(ticket.queued(), limits.wait_us), response];
    late.sort_unstable();
    let mut ticket = pin!(ticket);
    for late in late.into_iter().flatten() {
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

/// The shortest time that is longer than `us` microseconds.
fn just_after(us: u64) -> Duration {
    Duration::from_micros(us.saturating_add(1))
}
