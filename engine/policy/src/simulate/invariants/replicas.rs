//! The checker's own record of the replicas.

use super::super::event::{Change, Queue};
use crate::replica_set::{ReplicaId, ReplicaState};
use std::collections::HashMap;

#[derive(Clone, Copy, Debug)]
struct Replica {
    in_flight: usize,
    in_flight_max: usize,
    is_ready: bool,
    is_drained: bool,
    /// Failures that it may have been ejected for.
    failures: u32,
}

/// Replicas that have joined.
#[derive(Debug, Default)]
pub(super) struct Replicas(HashMap<ReplicaId, Replica>);

impl Replicas {
    pub(super) fn change(&mut self, id: ReplicaId, change: Change) {
        if let Change::Joined { in_flight_max, is_ready } = change {
            let (in_flight, is_drained, failures) = (0, false, 0);
            let new = Replica { in_flight, in_flight_max, is_ready, is_drained, failures };
            assert!(self.0.insert(id, new).is_none(), "ids are never reused");
            return;
        }
        let replica = self.0.get_mut(&id).unwrap();
        match change {
            Change::Ready => replica.is_ready = true,
            Change::Failed => replica.failures += 1,
            Change::Drained => replica.is_drained = true,
            Change::Joined { .. } => {}
        }
    }

    /// Records that a batch starts; returns false if the replica must not take it.
    pub(super) fn starts(&mut self, id: ReplicaId, queue: &Queue) -> bool {
        let replica = self.0.get_mut(&id).unwrap();
        replica.in_flight += 1;
        let is_ejected = matches!(queue.replicas().state(id), ReplicaState::Ejected { .. });
        let is_allowed = replica.is_ready && !replica.is_drained && !is_ejected;
        is_allowed && replica.in_flight <= replica.in_flight_max
    }

    pub(super) fn ends(&mut self, id: ReplicaId) {
        self.0.get_mut(&id).unwrap().in_flight -= 1;
    }

    /// True if no replica takes batches, now or later.
    pub(super) fn are_gone(&self) -> bool {
        self.0.values().all(|replica| replica.is_drained)
    }

    /// Compares the state of every replica with that in the queue.
    pub(super) fn agree(&self, queue: &Queue) -> bool {
        let agrees = |(&id, replica): (&ReplicaId, &Replica)| match queue.replicas().state(id) {
            ReplicaState::Starting => !replica.is_ready && !replica.is_drained,
            ReplicaState::Ready => replica.is_ready && !replica.is_drained,
            ReplicaState::Ejected { .. } => replica.failures > 0 && !replica.is_drained,
            ReplicaState::Draining => replica.is_drained && replica.in_flight > 0,
            ReplicaState::Gone => replica.is_drained && replica.in_flight == 0,
        };
        let in_flight = |id| self.0.get(&id).map(|replica| replica.in_flight);
        let mut all = queue.replicas().iter();
        self.0.iter().all(agrees) && all.all(|one| in_flight(one.id) == Some(one.in_flight))
    }
}
