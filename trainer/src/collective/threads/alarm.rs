//! What wakes all ranks when one has failed.

use crate::collective::CollectiveError;
use crate::error::TrainError;
use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;
use std::convert::Infallible;

/// Rings once, when the first rank fails, and goes on ringing.
#[derive(Debug)]
pub(super) struct Alarm {
    /// Closed when it rings.
    bell: Receiver<Infallible>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rope: Option<Sender<Infallible>>,
    first: Option<(usize, Cause)>,
}

/// Why the ranks can not go on.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cause {
    /// These ended.
    Ended(Vec<usize>),
    /// These did not come in time.
    Late { missing: Vec<usize>, waited_ms: u64 },
}

impl Cause {
    /// What is behind the error of a rank: another rank, or it itself.
    pub(super) fn of(rank: usize, error: &TrainError) -> Self {
        match error {
            TrainError::Collective(CollectiveError::Late { missing, waited_ms, .. }) => {
                Self::Late { missing: missing.clone(), waited_ms: *waited_ms }
            }
            TrainError::Collective(CollectiveError::Gone { missing, .. }) => {
                Self::Ended(missing.clone())
            }
            _ => Self::Ended(vec![rank]),
        }
    }
}

impl Alarm {
    pub(super) fn new() -> Self {
        let (rope, bell) = bounded(0);
        Self { bell, state: Mutex::new(State { rope: Some(rope), first: None }) }
    }

    /// Closed when it rings.
    pub(super) fn bell(&self) -> &Receiver<Infallible> {
        &self.bell
    }

    /// Rings, because `rank` can not go on.
    pub(super) fn ring(&self, rank: usize, cause: Cause) {
        let mut state = self.state.lock();
        if state.first.is_none() {
            state.first = Some((rank, cause));
        }
        state.rope = None;
    }

    /// Which rank failed first.
    pub(super) fn first(&self) -> Option<usize> {
        self.state.lock().first.as_ref().map(|(rank, _)| *rank)
    }

    /// Why it rings.
    pub(super) fn cause(&self) -> Option<Cause> {
        self.state.lock().first.as_ref().map(|(_, cause)| cause.clone())
    }
}
