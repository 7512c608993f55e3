//! Coalesces identical requests that are in flight at the same time into one run. The first one
//! leads: its request is queued, and the others wait for its response. When the leader fails, is
//! rejected or leaves, the next one leads, with its own deadline and its own error.

use super::cache::{Cache, CacheKey, CacheUsage, data_bytes};
use crate::config::CacheConfig;
use crate::error::Error;
use crate::model::{Model, Timing};
use crate::request::{CacheLookup, Outputs, Response, Stages};
use crate::ticket::Ticket;
use crate::validate::ValidRequest;
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

/// A cache whose misses are coalesced.
pub(super) struct CoalescingCache {
    cache: Cache,
    /// Requests in flight, by the hashes of their keys.
    in_flight: Mutex<HashMap<u64, Waiters, DefaultHashBuilder>>,
}

/// A request in flight and the number of callers that wait for it.
struct Waiters {
    in_flight: Arc<InFlight>,
    count: usize,
}

/// A request that is being answered for one or more callers.
pub(super) struct InFlight {
    key: CacheKey,
    /// Lets one caller at a time lead.
    response: OnceCell<Response>,
    /// True while the leader's request runs: it is no longer in the queue.
    is_running: Arc<AtomicBool>,
    /// Ticket of a leader that left; the next leader goes on with it.
    abandoned: Mutex<Option<Ticket>>,
}

/// Result of looking a request up.
pub(super) enum Found {
    Response(Outputs),
    InFlight(Arc<InFlight>),
    /// The request bypasses the cache.
    Bypass(ValidRequest),
}

/// Answers a request from the cache, by a run in flight, or by a run of its own.
///
/// # Errors
/// When a request that bypasses the cache is rejected by the queue; otherwise the ticket returns
/// the error.
pub(super) fn submit(
    cache: &Arc<CoalescingCache>,
    model: &Arc<Model>,
    request: ValidRequest,
    timing: Timing,
) -> Result<Ticket, Error> {
    let begun = Instant::now();
    match cache.find(request) {
        Found::Response(outputs) => {
            let now = Instant::now();
            let stages = Stages::without_run(now, now, Some(CacheLookup::Hit));
            model.statistics().record_hit(now - begun, &stages);
            let (name, version) = (Arc::clone(model.name()), model.version());
            Ok(Ticket::ready(model, Response { model: name, version, outputs, stages }))
        }
        Found::InFlight(in_flight) => {
            let (cache, waiting_for) = (Arc::clone(cache), Arc::clone(model));
            let waiter = Waiter { cache, model: waiting_for, in_flight };
            let timing = Timing { queued: Instant::now(), ..timing };
            let response = waiter.response(timing, timing.queued - begun);
            Ok(Ticket::shared(model, response))
        }
        Found::Bypass(request) => Ticket::enqueue(model, request, timing),
    }
}

impl CoalescingCache {
    pub(super) fn new(config: CacheConfig) -> Result<Self, Error> {
        Ok(Self { cache: Cache::new(config)?, in_flight: Mutex::default() })
    }

    pub(super) fn usage(&self) -> CacheUsage {
        self.cache.usage()
    }

    fn find(&self, request: ValidRequest) -> Found {
        if data_bytes(&request) > self.cache.entry_bytes_max() {
            return Found::Bypass(request);
        }
        let key = self.cache.key(request);
        match self.cache.get(&key) {
            Some(outputs) => Found::Response(outputs),
            None => self.join(key),
        }
    }

    /// Joins the request in flight with this key, or starts one.
    pub(super) fn join(&self, key: CacheKey) -> Found {
        let mut in_flight = self.in_flight.lock();
        let joined = match in_flight.entry(key.hash_value()) {
            Entry::Vacant(place) => {
                // The request in flight may have ended since the cache was read.
                if let Some(outputs) = self.cache.get(&key) {
                    return Found::Response(outputs);
                }
                let (response, is_running) = (OnceCell::new(), Arc::default());
                let abandoned = Mutex::default();
                let started = Arc::new(InFlight { key, response, is_running, abandoned });
                place.insert(Waiters { in_flight: Arc::clone(&started), count: 1 });
                return Found::InFlight(started);
            }
            Entry::Occupied(mut waiters) => {
                waiters.get_mut().count += 1;
                Arc::clone(&waiters.get().in_flight)
            }
        };
        drop(in_flight);
        if joined.key == key {
            return Found::InFlight(joined);
        }
        self.leave(key.hash_value());
        Found::Bypass(key.into_request())
    }

    fn leave(&self, hash: u64) {
        let mut in_flight = self.in_flight.lock();
        let Entry::Occupied(mut waiters) = in_flight.entry(hash) else { return };
        waiters.get_mut().count -= 1;
        if waiters.get().count == 0 {
            let ended = waiters.remove();
            drop(in_flight);
            // It may hold a queued request and much memory: freed outside of the lock.
            drop(ended);
        }
    }
}

#[cfg(test)]
impl CoalescingCache {
    pub(super) fn cache(&self) -> &Cache {
        &self.cache
    }

    pub(super) fn in_flight_count(&self) -> usize {
        self.in_flight.lock().len()
    }
}

/// A caller that waits for a request in flight.
struct Waiter {
    cache: Arc<CoalescingCache>,
    model: Arc<Model>,
    in_flight: Arc<InFlight>,
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.cache.leave(self.in_flight.key.hash_value());
    }
}

impl Waiter {
    /// Waits for the response, and leads when nobody else does.
    async fn response(self, timing: Timing, looked_up: Duration) -> Result<Response, Error> {
        let leads = AtomicBool::new(false);
        let lead = || self.lead(timing, looked_up, &leads);
        let mut response = pin!(self.in_flight.response.get_or_try_init(lead));
        let response = poll_fn(|cx| match response.as_mut().poll(cx) {
            // A leader is queued, and the queue answers it when its time is over.
            Poll::Pending if !leads.load(Relaxed) => self.in_flight.timed_out(&timing),
            polled => polled,
        });
        let response = response.await?;
        let stages = if leads.load(Relaxed) {
            let cache = Some(CacheLookup::Miss);
            Stages { queued: timing.queued, cache, ..response.stages }
        } else {
            let now = Instant::now();
            let cache = Some(CacheLookup::Coalesced);
            let stages = Stages::without_run(timing.queued, now, cache);
            self.model.statistics().record_hit(looked_up, &stages);
            stages
        };
        let Response { model, version, outputs, .. } = response;
        let (model, outputs) = (Arc::clone(model), outputs.clone());
        Ok(Response { model, version: *version, outputs, stages })
    }

    /// Gets the response by the run that another leader left, or by a run of its own.
    async fn lead(
        &self,
        timing: Timing,
        looked_up: Duration,
        leads: &AtomicBool,
    ) -> Result<Response, Error> {
        let abandoned = self.in_flight.abandoned.lock().take();
        if let Some(ticket) = abandoned
            && let Ok(response) = self.follow(ticket).await
        {
            self.insert(&response);
            return Ok(response);
        }
        leads.store(true, Relaxed);
        self.model.statistics().record_miss(looked_up);
        let timing = Timing { queued: Instant::now(), ..timing };
        let request = self.in_flight.key.request().clone();
        // The run of a leader before may have failed.
        self.in_flight.is_running.store(false, Relaxed);
        let is_running = Some(Arc::clone(&self.in_flight.is_running));
        let ticket = Ticket::enqueue_watched(&self.model, request, timing, is_running)?;
        let response = self.follow(ticket).await?;
        self.insert(&response);
        Ok(response)
    }

    fn follow(&self, ticket: Ticket) -> Followed<'_> {
        Followed { in_flight: &self.in_flight, ticket: Some(ticket) }
    }

    fn insert(&self, response: &Response) {
        let begun = Instant::now();
        self.cache.cache.insert(&self.in_flight.key, &response.outputs);
        self.model.statistics().record_insertion(begun.elapsed());
    }
}

/// A ticket that is left to the next leader when its own leader does not wait for it.
struct Followed<'a> {
    in_flight: &'a InFlight,
    ticket: Option<Ticket>,
}

impl Future for Followed<'_> {
    type Output = Result<Response, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(ticket) = &mut self.ticket else { return Poll::Pending };
        let response = Pin::new(ticket).poll(cx);
        if response.is_ready() {
            self.ticket = None;
        }
        response
    }
}

impl Drop for Followed<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            *self.in_flight.abandoned.lock() = Some(ticket);
        }
    }
}

impl InFlight {
    /// Returns an error to a caller that does not lead, once its timeout has passed. So does its
    /// time in the queue, while the leader's request is still there.
    fn timed_out<T>(&self, timing: &Timing) -> Poll<Result<T, Error>> {
        let now = Instant::now();
        let wait_limit = timing.wait_limit.filter(|_| !self.is_running.load(Relaxed));
        let of_limit = wait_limit.and_then(|limit| limit.passed_us(now));
        let timeout_us = of_limit.or_else(|| timing.deadline?.passed_timeout_us(now));
        timeout_us
            .map_or(Poll::Pending, |timeout_us| Poll::Ready(Err(Error::TimedOut { timeout_us })))
    }
}
