//! Open loop in process: one thread submits requests at their scheduled times and polls the
//! tickets, as a server's I/O thread does. A ticket may run its batch on that thread.

use anyhow::{Context as _, Result, bail};
use futures_util::Stream;
use futures_util::stream::FuturesUnordered;
use skysail_engine::Error;
use skysail_engine::endpoint::Endpoint;
use skysail_engine::error::ShedReason;
use skysail_engine::request::{Request, Response};
use skysail_engine::ticket::Ticket;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// Time without a response after which the engine hangs.
const HANG: Duration = Duration::from_secs(20);

/// Completion of a request. Times are from the run's start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Completion {
    /// Scheduled time.
    pub(super) at: Duration,
    /// Latency from the scheduled time, which includes the generator's delay.
    pub(super) latency: Duration,
    pub(super) outcome: Outcome,
}

/// Outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A batch of this many rows answered it.
    Answered { batch_rows: usize },
    /// It was rejected at admission.
    Rejected,
    /// It was admitted, and expired in the queue.
    Expired,
}

impl Outcome {
    /// Outcome for an error; `None` for any other failure.
    fn of(error: &Error) -> Option<Self> {
        Some(match error.shed_reason()? {
            ShedReason::Expired => Self::Expired,
            ShedReason::Overloaded | ShedReason::QueueFull | ShedReason::Busy => Self::Rejected,
        })
    }

    pub(super) fn is_answered(self) -> bool {
        matches!(self, Self::Answered { .. })
    }
}

/// Records of a run.
#[derive(Debug, Default)]
pub(super) struct Run {
    pub(super) completions: Vec<Completion>,
    /// Delays of the generator, one a request.
    pub(super) send_delays: Vec<Duration>,
    /// Idle time of the generator's thread.
    pub(super) idle: Duration,
    pub(super) elapsed: Duration,
}

/// Sends the requests in turn at these times, and waits for all responses.
///
/// # Errors
/// Fails if a request fails otherwise than by shedding.
pub(super) fn drive(
    model: &Arc<Endpoint>,
    requests: &[Request],
    arrivals: impl Iterator<Item = Duration>,
) -> Result<Run> {
    let wakeup = Arc::new(Wakeup { woken: AtomicBool::new(false), thread: std::thread::current() });
    let waker = Waker::from(Arc::clone(&wakeup));
    let mut generator = Generator {
        model,
        requests: requests.iter().cycle(),
        start: Instant::now(),
        tickets: FuturesUnordered::new(),
        run: Run::default(),
    };
    let mut arrivals = arrivals.peekable();
    let mut last_answer = generator.start;
    loop {
        let now = generator.start.elapsed();
        while let Some(at) = arrivals.next_if(|at| *at <= now) {
            generator.submit(at)?;
        }
        if generator.poll(&waker)? || generator.tickets.is_empty() {
            last_answer = Instant::now();
        }
        let next = arrivals.peek();
        if next.is_none() && generator.tickets.is_empty() {
            generator.run.elapsed = generator.start.elapsed();
            return Ok(generator.run);
        }
        if last_answer.elapsed() > HANG {
            bail!("no request was answered for {HANG:?}");
        }
        if !wakeup.take() {
            let until = next.map(|at| generator.start + *at);
            generator.run.idle += wakeup.wait_until(until);
        }
    }
}

struct Generator<'a, R> {
    model: &'a Arc<Endpoint>,
    requests: R,
    start: Instant,
    tickets: FuturesUnordered<Sent>,
    run: Run,
}

impl<'a, R: Iterator<Item = &'a Request>> Generator<'a, R> {
    fn submit(&mut self, at: Duration) -> Result<()> {
        let mut request = self.requests.next().context("there is no request")?.clone();
        request.received = Some(self.start + at);
        self.run.send_delays.push(self.start.elapsed().saturating_sub(at));
        match self.model.submit(request) {
            Ok(ticket) => self.tickets.push(Sent { ticket, at }),
            Err(error) => self.ended(at, Err(error))?,
        }
        Ok(())
    }

    /// Polls the woken tickets once; true if any completed.
    fn poll(&mut self, waker: &Waker) -> Result<bool> {
        let mut context = Context::from_waker(waker);
        let mut any = false;
        while let Poll::Ready(Some((at, result))) =
            Pin::new(&mut self.tickets).poll_next(&mut context)
        {
            self.ended(at, result)?;
            any = true;
        }
        Ok(any)
    }

    fn ended(&mut self, at: Duration, result: Result<Response, Error>) -> Result<()> {
        let now = Instant::now();
        let outcome = match result {
            Ok(response) => {
                // The engine learns the response time, as with a server.
                self.model.responded(&response.stages, now);
                Outcome::Answered { batch_rows: response.stages.batch_rows().max(1) }
            }
            Err(error) => {
                Outcome::of(&error).with_context(|| format!("a request failed: {error}"))?
            }
        };
        let latency = (now - self.start).saturating_sub(at);
        self.run.completions.push(Completion { at, latency, outcome });
        Ok(())
    }
}

/// Ticket with the scheduled time of its request.
struct Sent {
    ticket: Ticket,
    at: Duration,
}

impl Future for Sent {
    type Output = (Duration, Result<Response, Error>);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let at = self.at;
        Pin::new(&mut self.ticket).poll(context).map(|result| (at, result))
    }
}

/// Wakes the generator's thread when a ticket is to be polled.
struct Wakeup {
    woken: AtomicBool,
    thread: Thread,
}

impl Wakeup {
    /// True if there was a wake-up since the last call.
    fn take(&self) -> bool {
        self.woken.swap(false, Ordering::Acquire)
    }

    /// Sleeps until a wake-up or a time, and returns the time slept.
    fn wait_until(&self, until: Option<Instant>) -> Duration {
        let asleep = Instant::now();
        let left = until.map_or(HANG, |until| until.saturating_duration_since(asleep));
        if !left.is_zero() && !self.woken.load(Ordering::Acquire) {
            std::thread::park_timeout(left);
        }
        asleep.elapsed()
    }
}

impl Wake for Wakeup {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::Release) {
            self.thread.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejected_and_expired_requests_are_distinguished() {
        let (model, deadline_us, retry_after_ms) = (String::new, 1, 1);
        let full = Error::QueueFull { model: model(), limit: 1 };
        let overloaded = Error::Overloaded { model: model(), deadline_us, retry_after_ms };
        let dropped = Error::Dropped { model: model(), deadline_us, retry_after_ms };
        let late = Error::TimedOut { timeout_us: 1 };
        assert_eq!([full, overloaded].map(|e| Outcome::of(&e)), [Some(Outcome::Rejected); 2]);
        assert_eq!([dropped, late].map(|e| Outcome::of(&e)), [Some(Outcome::Expired); 2]);
        assert_eq!(Outcome::of(&Error::Internal("broken".into())), None);
    }
}
