//! Who is there, when not all have come in time.

use std::time::{Duration, Instant};

use mpi::Tag;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, Destination, MatchedReceiveVec, Source};

/// The tag of "here".
pub(super) const TAG: Tag = 1;
/// How long the others have to answer; who waits for the same operation asks MPI, and so hears
/// of the call, many times in that.
const ANSWERS: Duration = Duration::from_millis(250);

/// The roll call of an operation: who has come to it says so to all when the first has lost its
/// patience. Who is silent is missing.
pub(super) struct Roll {
    number: u64,
    here: Vec<bool>,
    answered: bool,
    called: Option<Instant>,
}

impl Roll {
    pub(super) fn new(rank: usize, world: usize, number: u64) -> Self {
        let here = (0..world).map(|other| other == rank).collect();
        Self { number, here, answered: false, called: None }
    }

    /// Hears who is here, and calls if it is time to. Gives who is missing once that is known.
    pub(super) fn call(&mut self, is_time: bool) -> Option<Vec<usize>> {
        let all = SimpleCommunicator::world();
        while let Some(message) = all.any_process().immediate_matched_probe_with_tag(TAG) {
            let (number, status) = message.matched_receive_vec::<u64>();
            let from = usize::try_from(status.source_rank()).ok();
            // What is left of an earlier operation, whose last rank came after all, says nothing.
            if number == [self.number]
                && let Some(here) = from.and_then(|from| self.here.get_mut(from))
            {
                *here = true;
                self.answer();
            }
        }
        if !is_time {
            return None;
        }
        self.answer();
        let called = self.called.get_or_insert_with(Instant::now);
        let is_over = called.elapsed() >= ANSWERS;
        let missing = (0..self.here.len()).filter(|rank| !self.here[*rank]).collect::<Vec<_>>();
        // All are here, so MPI is about to know it too.
        (is_over && !missing.is_empty()).then_some(missing)
    }

    /// Says "here" to all, once.
    fn answer(&mut self) {
        if std::mem::replace(&mut self.answered, true) {
            return;
        }
        let all = SimpleCommunicator::world();
        for rank in 0..all.size() {
            all.process_at_rank(rank).buffered_send_with_tag(&[self.number][..], TAG);
        }
    }
}
