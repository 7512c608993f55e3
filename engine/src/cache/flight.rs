//! One run for all who ask the same at the same time. The first to be asked after leads: its
//! request is queued, and the others wait for its answer. When the leader gets none, because it
//! failed, was refused or left, the next one leads, with its own deadline and its own error.

use super::{Cache, Question, data_bytes};
use crate::admit::Admitted;
use crate::batch::Outputs;
use crate::error::Error;
use crate::model::{Claim, Model};
use crate::queue::Limit;
use crate::request::{Response, Stages};
use crate::request_record::Lookup;
use crate::ticket::Ticket;
use parking_lot::Mutex;
use quick_cache::DefaultHashBuilder;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;

/// What is being answered now, by the hash of the question.
pub(super) type Flights = Mutex<HashMap<u64, Aboard, DefaultHashBuilder>>;

/// A flight and how many hold a seat in it.
pub(super) struct Aboard {
    flight: Arc<Flight>,
    seats: usize,
}

/// A question that is being answered.
pub(super) struct Flight {
    question: Question,
    /// Lets one caller at a time lead.
    answer: OnceCell<Response>,
    /// The place in the queue of a leader that left: whoever leads next goes on with it.
    left: Mutex<Option<Ticket>>,
}

/// What becomes of a request.
pub(super) enum Found {
    Answer(Outputs),
    Flight(Arc<Flight>),
    /// It has nothing to do with the cache.
    Nothing(Admitted),
}

impl Cache {
    /// A ticket for a request: answered from what is kept, by a run on its way, or by its own.
    ///
    /// # Errors
    /// When a request that has nothing to do with the cache is refused by the queue; otherwise
    /// the ticket tells.
    pub(crate) fn submit(
        &self,
        model: &Arc<Model>,
        request: Admitted,
        claim: Claim,
    ) -> Result<Ticket, Error> {
        let begun = Instant::now();
        match self.find(request) {
            Found::Answer(outputs) => {
                let now = Instant::now();
                let stages = Stages::without_run(now, now, Some(Lookup::Hit));
                model.statistics().record_hit(now - begun, &stages);
                let (name, version) = (Arc::clone(model.name()), model.version());
                let response = Response { model: name, version, outputs, stages };
                Ok(Ticket::shared(Arc::clone(model), std::future::ready(Ok(response))))
            }
            Found::Flight(flight) => {
                let seat = Seat { model: Arc::clone(model), flight };
                let claim = Claim { queued: Instant::now(), ..claim };
                let answer = seat.answer(claim, claim.queued - begun);
                Ok(Ticket::shared(Arc::clone(model), answer))
            }
            Found::Nothing(request) => model.enqueue(request, claim),
        }
    }

    fn find(&self, request: Admitted) -> Found {
        if data_bytes(&request) > self.entry_bytes_max {
            return Found::Nothing(request);
        }
        let question = Question::new(request, &self.hasher);
        match self.get(&question) {
            Some(outputs) => Found::Answer(outputs),
            None => self.board(question),
        }
    }

    /// Takes a seat in the flight of a question, which may be a new one.
    pub(super) fn board(&self, question: Question) -> Found {
        let mut flights = self.flights.lock();
        let flight = match flights.entry(question.hash) {
            Entry::Vacant(place) => {
                // Its flight may have ended since it was not found.
                if let Some(outputs) = self.get(&question) {
                    return Found::Answer(outputs);
                }
                let (answer, left) = (OnceCell::new(), Mutex::default());
                let flight = Arc::new(Flight { question, answer, left });
                place.insert(Aboard { flight: Arc::clone(&flight), seats: 1 });
                return Found::Flight(flight);
            }
            Entry::Occupied(mut aboard) => {
                aboard.get_mut().seats += 1;
                Arc::clone(&aboard.get().flight)
            }
        };
        drop(flights);
        if flight.question == question {
            return Found::Flight(flight);
        }
        self.leave(question.hash);
        Found::Nothing(question.request)
    }

    /// Gives a seat back.
    fn leave(&self, hash: u64) {
        let mut flights = self.flights.lock();
        let Entry::Occupied(mut aboard) = flights.entry(hash) else { return };
        aboard.get_mut().seats -= 1;
        if aboard.get().seats == 0 {
            let ended = aboard.remove();
            drop(flights);
            // It may hold a place in the queue, and much memory.
            drop(ended);
        }
    }

    #[cfg(test)]
    pub(super) fn flights(&self) -> usize {
        self.flights.lock().len()
    }
}

/// A caller's seat in a flight.
struct Seat {
    model: Arc<Model>,
    flight: Arc<Flight>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(cache) = self.model.cache() {
            cache.leave(self.flight.question.hash);
        }
    }
}

impl Seat {
    /// Waits for the flight's answer, or leads when nobody else does.
    async fn answer(self, claim: Claim, looked_up: Duration) -> Result<Response, Error> {
        let runs = AtomicBool::new(false);
        let lead = || self.lead(claim, looked_up, &runs);
        let mut answer = pin!(self.flight.answer.get_or_try_init(lead));
        let answer = poll_fn(|cx| match answer.as_mut().poll(cx) {
            // One that is queued hears it from the queue.
            Poll::Pending if !runs.load(Relaxed) => too_late(claim.limit),
            polled => polled,
        });
        let answer = answer.await?;
        let stages = if runs.load(Relaxed) {
            Stages { queued: claim.queued, cache: Some(Lookup::Miss), ..answer.stages }
        } else {
            let now = Instant::now();
            let stages = Stages::without_run(claim.queued, now, Some(Lookup::Shared));
            self.model.statistics().record_hit(looked_up, &stages);
            stages
        };
        let Response { model, version, outputs, .. } = answer;
        let (model, outputs) = (Arc::clone(model), outputs.clone());
        Ok(Response { model, version: *version, outputs, stages })
    }

    /// Has the question answered, by a run that another left or by one of its own.
    async fn lead(
        &self,
        claim: Claim,
        looked_up: Duration,
        runs: &AtomicBool,
    ) -> Result<Response, Error> {
        let left = self.flight.left.lock().take();
        if let Some(ticket) = left
            && let Ok(response) = self.follow(ticket).await
        {
            self.keep(&response);
            return Ok(response);
        }
        runs.store(true, Relaxed);
        self.model.statistics().record_miss(looked_up);
        let claim = Claim { queued: Instant::now(), ..claim };
        let ticket = self.model.enqueue(self.flight.question.request.clone(), claim)?;
        let response = self.follow(ticket).await?;
        self.keep(&response);
        Ok(response)
    }

    fn follow(&self, ticket: Ticket) -> Run<'_> {
        Run { flight: &self.flight, ticket: Some(ticket) }
    }

    fn keep(&self, response: &Response) {
        let Some(cache) = self.model.cache() else { return };
        let begun = Instant::now();
        cache.keep(&self.flight.question, &response.outputs);
        self.model.statistics().record_keep(begun.elapsed());
    }
}

/// A place in the queue that is left to the flight by whoever does not wait for its answer.
struct Run<'a> {
    flight: &'a Flight,
    ticket: Option<Ticket>,
}

impl Future for Run<'_> {
    type Output = Result<Response, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(ticket) = &mut self.ticket else { return Poll::Pending };
        let answer = Pin::new(ticket).poll(cx);
        if answer.is_ready() {
            self.ticket = None;
        }
        answer
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            *self.flight.left.lock() = Some(ticket);
        }
    }
}

/// Tells one that waits for another's answer that its time is over, when it is.
fn too_late<T>(limit: Option<Limit>) -> Poll<Result<T, Error>> {
    match limit {
        Some(Limit { deadline, allowed_us, is_timeout: true }) if Instant::now() > deadline => {
            Poll::Ready(Err(Error::TimedOut { timeout_us: allowed_us }))
        }
        _ => Poll::Pending,
    }
}
