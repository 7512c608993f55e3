//! A caller's place in the queue: a future that becomes the response.
//!
//! The caller helps. Once its thread has taken in everything else that arrived together with its
//! request, the ticket forms a batch of all that waits and runs it right there, if that is
//! shorter than waking another thread (`skysail_policy::place`); otherwise a replica's thread is
//! told. Dropping the ticket withdraws the request.

use crate::error::Error;
use crate::execute::run_and_finish;
use crate::model::{Model, Timing};
use crate::queue::Entry;
use crate::request::Response;
use crate::validate::ValidRequest;
use skysail_policy::cause::BlockingBatch;
use skysail_policy::inline_run::RunOn;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::sync::oneshot;

#[cfg(test)]
mod tests;

/// Batches that one ticket runs at most before it leaves the rest to a replica's thread.
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

/// Where the response comes from.
enum Reply {
    /// From the batch that it is in.
    Own(oneshot::Receiver<Result<Response, Error>>),
    /// By way of the cache.
    Shared(Pin<Box<dyn Future<Output = Result<Response, Error>> + Send>>),
}

/// How often the ticket was polled.
#[derive(Clone, Copy)]
enum Turn {
    /// Never: others that arrived at the same time may still be on their way to the queue.
    Queued,
    /// Once: now it helps.
    Helping,
    /// It waits for whoever runs its batch.
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
        let Timing { queued, priority, deadline } = timing;
        let (reply, receiver) = oneshot::channel();
        let (behind, ahead, attempts) = (None, 0, 0);
        let entry = Entry { request, queued, priority, deadline, behind, ahead, attempts, reply };
        let behind = model.queue().push(entry)?;
        let (model, reply) = (Arc::clone(model), Reply::Own(receiver));
        Ok(Self { model, reply, turn: Turn::Queued, queued, behind })
    }

    /// When its request was queued, or the cache was asked.
    pub fn queued(&self) -> Instant {
        self.queued
    }

    /// The batch that ran when its request was queued, if no replica was free.
    pub fn behind(&self) -> Option<BlockingBatch> {
        self.behind
    }

    /// A ticket whose response exists already.
    pub(crate) fn ready(model: &Arc<Model>, response: Response) -> Self {
        Self::shared(model, std::future::ready(Ok(response)))
    }

    /// A ticket that is not in the queue itself.
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
    /// One that leaves before it has helped stands in the queue, and nobody was told of it.
    fn drop(&mut self) {
        if matches!(self.turn, Turn::Queued | Turn::Helping) {
            self.model.queue().wake_thread();
        }
    }
}

/// Runs what waits, as long as it is short.
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
