//! The thread that sums buckets over the ranks while their rank computes the next.

use super::buckets::Bucket;
use crate::collective::{Collective, CollectiveError};
use crate::error::TrainError;
use crossbeam_channel::{Receiver, Sender, unbounded};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

/// Sums buckets over the ranks, in the order in which it gets them, and gives them back.
pub(super) enum Courier {
    /// There is nobody to go to.
    Alone(VecDeque<Bucket>),
    /// A thread has the collective.
    Together(Thread),
}

/// The thread's other side.
pub(super) struct Thread {
    out: Option<Sender<Bucket>>,
    back: Receiver<Result<Bucket, CollectiveError>>,
    bytes_sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Courier {
    pub(super) fn new(collective: Box<dyn Collective>) -> Result<Self, TrainError> {
        if collective.world() == 1 {
            return Ok(Self::Alone(VecDeque::new()));
        }
        Thread::start(collective).map(Self::Together)
    }

    pub(super) fn send(&mut self, bucket: Bucket) -> Result<(), TrainError> {
        match self {
            Self::Alone(buckets) => buckets.push_back(bucket),
            Self::Together(Thread { out, back, .. }) => {
                let sent = out.as_ref().is_some_and(|out| out.send(bucket).is_ok());
                if !sent {
                    // It has stopped: the reason is behind what it has done.
                    back.try_iter()
                        .find_map(Result::err)
                        .map_or(Err(stopped()), |e| Err(e.into()))?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn receive(&mut self) -> Result<Bucket, TrainError> {
        match self {
            Self::Alone(buckets) => buckets.pop_front().ok_or_else(stopped),
            Self::Together(thread) => Ok(thread.back.recv().map_err(|_| stopped())??),
        }
    }

    pub(super) fn bytes_sent(&self) -> u64 {
        match self {
            Self::Alone(_) => 0,
            Self::Together(thread) => thread.bytes_sent.load(Ordering::Acquire),
        }
    }
}

impl Thread {
    fn start(mut collective: Box<dyn Collective>) -> Result<Self, TrainError> {
        let (out, buckets) = unbounded::<Bucket>();
        let (sums, back) = unbounded();
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
        Ok(Self { out: Some(out), back, bytes_sent, thread })
    }
}

impl Drop for Thread {
    /// The collective is free when this is.
    fn drop(&mut self) {
        self.out = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn stopped() -> TrainError {
    TrainError::State("a step has failed, and no other can follow".to_owned())
}
