//! Communication thread: sums buckets over the ranks while the backward pass computes the next.

use super::buckets::Bucket;
use crate::collective::{Collective, CollectiveError};
use crate::error::TrainError;
use crossbeam_channel::{Receiver, Sender, unbounded};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

/// Sums buckets over the ranks, and returns them in order.
pub(super) enum BucketReducer {
    /// A single rank, which needs no sums.
    Single(VecDeque<Bucket>),
    /// A thread owns the collective.
    Threaded(CommThread),
}

/// Handle of the communication thread.
pub(super) struct CommThread {
    to_thread: Option<Sender<Bucket>>,
    from_thread: Receiver<Result<Bucket, CollectiveError>>,
    bytes_sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl BucketReducer {
    pub(super) fn new(collective: Box<dyn Collective>) -> Result<Self, TrainError> {
        if collective.world() == 1 {
            return Ok(Self::Single(VecDeque::new()));
        }
        CommThread::start(collective).map(Self::Threaded)
    }

    pub(super) fn send(&mut self, bucket: Bucket) -> Result<(), TrainError> {
        match self {
            Self::Single(buckets) => buckets.push_back(bucket),
            Self::Threaded(CommThread { to_thread, from_thread, .. }) => {
                let sent =
                    to_thread.as_ref().is_some_and(|to_thread| to_thread.send(bucket).is_ok());
                if !sent {
                    // The thread has stopped; its error follows the finished buckets.
                    from_thread
                        .try_iter()
                        .find_map(Result::err)
                        .map_or(Err(stopped()), |e| Err(e.into()))?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn receive(&mut self) -> Result<Bucket, TrainError> {
        match self {
            Self::Single(buckets) => buckets.pop_front().ok_or_else(stopped),
            Self::Threaded(thread) => Ok(thread.from_thread.recv().map_err(|_| stopped())??),
        }
    }

    pub(super) fn bytes_sent(&self) -> u64 {
        match self {
            Self::Single(_) => 0,
            Self::Threaded(thread) => thread.bytes_sent.load(Ordering::Acquire),
        }
    }
}

impl CommThread {
    fn start(mut collective: Box<dyn Collective>) -> Result<Self, TrainError> {
        let (to_thread, buckets) = unbounded::<Bucket>();
        let (sums, from_thread) = unbounded();
        let bytes_sent = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&bytes_sent);
        let run = move || {
            for mut bucket in buckets {
                let sum = collective.all_reduce(&mut bucket.numbers).map(|()| bucket);
                counter.store(collective.bytes_sent(), Ordering::Release);
                let failed = sum.is_err();
                if sums.send(sum).is_err() || failed {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("all-reduce".to_owned()).spawn(run);
        let thread = Some(thread.map_err(TrainError::Thread)?);
        Ok(Self { to_thread: Some(to_thread), from_thread, bytes_sent, thread })
    }
}

impl Drop for CommThread {
    /// Joins the thread, after which the collective is free.
    fn drop(&mut self) {
        self.to_thread = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn stopped() -> TrainError {
    TrainError::State("an earlier step has failed".to_owned())
}
