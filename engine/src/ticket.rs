//! The future of a response, held by a caller whose request waits.
//!
//! The caller's thread helps. First it takes in everything that arrived together with its request.
//! Then the ticket forms a batch of all that waits and runs it inline, if that is shorter than
//! waking another thread (`skysail_policy::inline_run`). Otherwise it wakes a replica's thread.
//! Dropping the ticket cancels the request.

use crate::error::Error;
use crate::execute::run_and_finish;
use crate::model::{Model, Timing};
use crate::queue::Entry;
use crate::reply::ReplySender;
use crate::request::Response;
use crate::validate::ValidRequest;
use skysail_policy::cause::BlockingBatch;
use skysail_policy::inline_run::RunOn;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::sync::oneshot;

#[cfg(test)]
mod tests;

/// Most batches that one ticket runs before it leaves the rest to a replica's thread.
const JOBS_MAX: usize = 2;

/// The future of a response.
#[must_use = "a ticket that is dropped withdraws its request"]
pub struct Ticket {
    model: Arc<Model>,
    reply: Reply,
    turn: Turn,
    queued: Instant,
    behind: Option<BlockingBatch>,
}

/// Source of the response.
enum Reply {
    /// The batch of the request.
    Own(oneshot::Receiver<Result<Response, Error>>),
    /// The cache, or a request in flight.
    Shared(Pin<Box<dyn Future<Output = Result<Response, Error>> + Send>>),
}

/// Turn of the ticket, by the number of its polls.
#[derive(Clone, Copy)]
enum Turn {
    /// Not polled: other requests that arrived at the same time may not be queued yet.
    Queued,
    /// Polled once: now it helps.
    Helping,
    /// It waits for the thread that runs its batch.
    Waiting,
}

impl Ticket {
    /// Puts a request into the queue of a model.
    ///
    /// # Errors
    /// When the queue is full or closed, or no response in time is possible.
    pub(crate) fn enqueue(
        model: &Arc<Model>,
        request: ValidRequest,
        timing: Timing,
    ) -> Result<Self, Error> {
        Self::enqueue_watched(model, request, timing, None)
    }

    /// Puts a request into the queue of a model. `is_running` tells others when it runs.
    ///
    /// # Errors
    /// When the queue is full or closed, or no response in time is possible.
    pub(crate) fn enqueue_watched(
        model: &Arc<Model>,
        request: ValidRequest,
        timing: Timing,
        is_running: Option<Arc<AtomicBool>>,
    ) -> Result<Self, Error> {
        let Timing { queued, priority, deadline, wait_limit } = timing;
        let (channel, receiver) = oneshot::channel();
        let reply = match model.response_order() {
            None => channel.into(),
            Some(order) => ReplySender::in_order(channel, order, priority),
        };
        let (behind, ahead, attempts) = (None, 0, 0);
        let entry = Entry {
            request,
            queued,
            priority,
            deadline,
            wait_limit,
            behind,
            ahead,
            attempts,
            is_running,
            reply,
        };
        let behind = model.queue().push(entry)?;
        let (model, reply) = (Arc::clone(model), Reply::Own(receiver));
        Ok(Self { model, reply, turn: Turn::Queued, queued, behind })
    }

    /// Time at which the request was queued, or the cache was read.
    pub fn queued(&self) -> Instant {
        self.queued
    }

    /// Batch that ran when the request was queued, if no replica was free.
    pub fn behind(&self) -> Option<BlockingBatch> {
        self.behind
    }

    /// Makes a ticket whose response exists already.
    pub(crate) fn ready(model: &Arc<Model>, response: Response) -> Self {
        Self::shared(model, std::future::ready(Ok(response)))
    }

    /// Makes a ticket that is not in the queue itself.
    pub(crate) fn shared(
        model: &Arc<Model>,
        reply: impl Future<Output = Result<Response, Error>> + Send + 'static,
    ) -> Self {
        let (model, reply) = (Arc::clone(model), Reply::Shared(Box::pin(reply)));
        Self { model, reply, turn: Turn::Waiting, queued: Instant::now(), behind: None }
    }

    fn poll_reply(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response, Error>> {
        let reply = match &mut self.reply {
            Reply::Own(reply) => Pin::new(reply).poll(cx),
            Reply::Shared(reply) => return reply.as_mut().poll(cx),
        };
        reply.map(|reply| {
            reply.unwrap_or_else(|_| Err(Error::Internal("the replica broke off".into())))
        })
    }
}

impl Future for Ticket {
    type Output = Result<Response, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.turn {
            Turn::Queued => {
                self.turn = Turn::Helping;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Turn::Helping => {
                self.turn = Turn::Waiting;
                if let Poll::Ready(reply) = self.poll_reply(cx) {
                    return Poll::Ready(reply);
                }
                help(&self.model);
                self.poll_reply(cx)
            }
            Turn::Waiting => self.poll_reply(cx),
        }
    }
}

impl Drop for Ticket {
    /// Wakes a thread if the ticket has not helped yet: no other has been woken for its request.
    fn drop(&mut self) {
        if matches!(self.turn, Turn::Queued | Turn::Helping) {
            self.model.queue().wake_thread();
        }
    }
}

/// Runs waiting batches as long as they are short.
fn help(model: &Arc<Model>) {
    let queue = model.queue();
    for _ in 0..JOBS_MAX {
        let Some(job) = queue.start_here() else { return };
        run_and_finish(model, job, RunOn::Caller);
    }
    if queue.has_work() {
        queue.wake_thread();
    }
}
