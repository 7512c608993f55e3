//! Arrival check of a collective operation: each rank announces its arrival to all others.

use mpi::Tag;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, Destination, MatchedReceiveVec, Source};

/// Tag of the announcements of the first connection.
pub(super) const TAG: Tag = 1;

/// Announcement of a rank: index of its operation, and length.
pub(super) type Announcement = [u64; 2];

/// Arrival check of one operation. Messages between two ranks keep their order, so the next one
/// from a rank is about this operation.
pub(super) struct ArrivalCheck {
    tag: Tag,
    missing: Vec<usize>,
}

impl ArrivalCheck {
    /// Announces this rank's arrival to all others.
    pub(super) fn announce(
        tag: Tag,
        rank: usize,
        world: usize,
        announcement: Announcement,
    ) -> Self {
        let missing: Vec<usize> = (0..world).filter(|other| *other != rank).collect();
        let all = SimpleCommunicator::world();
        for other in &missing {
            all.process_at_rank(*other as i32).buffered_send_with_tag(&announcement[..], tag);
        }
        Self { tag, missing }
    }

    /// Returns the next arrived rank and its announcement, if any.
    pub(super) fn next(&mut self) -> Option<(usize, Announcement)> {
        let all = SimpleCommunicator::world();
        let arrived = self.missing.iter().enumerate().find_map(|(index, rank)| {
            let rank = all.process_at_rank(*rank as i32);
            Some((index, rank.immediate_matched_probe_with_tag(self.tag)?))
        });
        let (index, message) = arrived?;
        let (announcement, _) = message.matched_receive_vec::<u64>();
        Some((self.missing.remove(index), announcement.first_chunk().copied().unwrap_or_default()))
    }

    /// Ranks that have not arrived.
    pub(super) fn missing(&self) -> &[usize] {
        &self.missing
    }
}
