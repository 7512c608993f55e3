//! Replicas that join and leave while requests run.

use super::Scheduler;
use crate::replica_set::{ReplicaId, ReplicaState, Traits};
use std::hash::Hash;

impl<T, K: Clone + Eq + Hash> Scheduler<T, K> {
    /// Adds a replica that takes batches at once, or one that is still starting.
    pub fn join(&mut self, traits: Traits, is_ready: bool) -> ReplicaId {
        self.classes.add(traits.class);
        let id = self.replicas.add(traits, is_ready);
        self.count_replicas();
        id
    }

    /// Lets a starting or an ejected replica take batches.
    pub fn set_ready(&mut self, id: ReplicaId) {
        self.replicas.set_ready(id);
        self.count_replicas();
    }

    /// Lets a replica leave once its batches in flight have ended. Returns its state, which is
    /// [`ReplicaState::Gone`] if it has none.
    pub fn drain(&mut self, id: ReplicaId) -> ReplicaState {
        self.replicas.drain(id);
        self.count_replicas();
        self.replicas.state(id)
    }

    /// Tells the policies how many batches run side by side. When the last replica leaves, so do
    /// the requests that wait.
    pub(super) fn count_replicas(&mut self) {
        if self.replicas.live().next().is_none() {
            self.remove_all();
        }
        let slots = self.replicas.slots();
        if slots != self.slots {
            self.slots = slots;
            self.classes.iter_mut().for_each(|class| class.policy.set_replicas(slots));
        }
    }
}
