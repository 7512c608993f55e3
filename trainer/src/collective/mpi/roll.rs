//! Who has come to an operation, and to which one: each rank tells all others when it comes.

use mpi::Tag;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, Destination, MatchedReceiveVec, Source};

/// The tag of what is told of the first end's operations.
pub(super) const TAG: Tag = 1;

/// What a rank comes to: an operation, and its length.
pub(super) type Coming = [u64; 2];

/// The roll of one operation. Messages between two ranks keep their order, so that the next one of
/// a rank is about this operation.
pub(super) struct Roll {
    tag: Tag,
    missing: Vec<usize>,
}

impl Roll {
    /// Tells all others what this rank comes to.
    pub(super) fn call(tag: Tag, rank: usize, world: usize, coming: Coming) -> Self {
        let missing: Vec<usize> = (0..world).filter(|other| *other != rank).collect();
        let all = SimpleCommunicator::world();
        for other in &missing {
            all.process_at_rank(*other as i32).buffered_send_with_tag(&coming[..], tag);
        }
        Self { tag, missing }
    }

    /// The next of those who have come since, and what they come to.
    pub(super) fn next(&mut self) -> Option<(usize, Coming)> {
        let all = SimpleCommunicator::world();
        let come = self.missing.iter().enumerate().find_map(|(place, rank)| {
            let rank = all.process_at_rank(*rank as i32);
            Some((place, rank.immediate_matched_probe_with_tag(self.tag)?))
        });
        let (place, message) = come?;
        let (coming, _) = message.matched_receive_vec::<u64>();
        Some((self.missing.remove(place), coming.first_chunk().copied().unwrap_or_default()))
    }

    /// Who has not come.
    pub(super) fn missing(&self) -> &[usize] {
        &self.missing
    }
}
