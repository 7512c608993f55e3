//! Abort of all ranks when one has failed.

use crate::collective::CollectiveError;
use crate::error::TrainError;
use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;
use std::convert::Infallible;

/// Signal that the first failed rank sends to all others.
#[derive(Debug)]
pub(super) struct AbortSignal {
    /// Disconnected on abort.
    receiver: Receiver<Infallible>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    sender: Option<Sender<Infallible>>,
    first: Option<(usize, Cause)>,
}

/// Cause of the abort.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cause {
    /// These ranks ended.
    Ended(Vec<usize>),
    /// These ranks did not arrive within the timeout.
    TimedOut { missing: Vec<usize>, waited_ms: u64 },
}

impl Cause {
    /// The cause of a rank's error: other ranks, or the rank itself.
    pub(super) fn of(rank: usize, error: &TrainError) -> Self {
        match error {
            TrainError::Collective(CollectiveError::Timeout { missing, waited_ms, .. }) => {
                Self::TimedOut { missing: missing.clone(), waited_ms: *waited_ms }
            }
            TrainError::Collective(CollectiveError::Gone { missing, .. }) => {
                Self::Ended(missing.clone())
            }
            _ => Self::Ended(vec![rank]),
        }
    }
}

impl AbortSignal {
    pub(super) fn new() -> Self {
        let (sender, receiver) = bounded(0);
        Self { receiver, state: Mutex::new(State { sender: Some(sender), first: None }) }
    }

    /// Channel that is disconnected on abort.
    pub(super) fn channel(&self) -> &Receiver<Infallible> {
        &self.receiver
    }

    /// Aborts all ranks because `rank` failed.
    pub(super) fn abort(&self, rank: usize, cause: Cause) {
        let mut state = self.state.lock();
        if state.first.is_none() {
            state.first = Some((rank, cause));
        }
        state.sender = None;
    }

    /// The rank that failed first.
    pub(super) fn first_failed(&self) -> Option<usize> {
        self.state.lock().first.as_ref().map(|(rank, _)| *rank)
    }

    /// The cause of the first failure.
    pub(super) fn cause(&self) -> Option<Cause> {
        self.state.lock().first.as_ref().map(|(_, cause)| cause.clone())
    }
}
