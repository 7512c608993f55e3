//! The executors of a version's replicas, while they are idle.

use super::seen_sizes::SeenSizes;
use super::{ClassId, Replica, ReplicaId, Runner};
use crate::executor::{AsyncExecutor, Executor};
use std::sync::Arc;

/// Executors by the identities of their replicas.
#[derive(Default)]
pub(crate) struct Slots(Vec<Slot>);

struct Slot {
    id: ReplicaId,
    class: ClassId,
    runner: SlotRunner,
    sizes: SeenSizes,
}

enum SlotRunner {
    /// `None` while it runs a batch.
    Direct(Option<Box<dyn Executor>>),
    Async(Arc<dyn AsyncExecutor>),
}

/// An executor that has been taken for a batch.
pub(crate) struct Running {
    pub(crate) id: ReplicaId,
    pub(crate) runner: Runner,
}

impl Slots {
    /// Adds the executor of a replica.
    pub(crate) fn add(&mut self, id: ReplicaId, replica: Replica) {
        let runner = match replica.runner {
            Runner::Direct(executor) => SlotRunner::Direct(Some(executor)),
            Runner::Async(executor) => SlotRunner::Async(executor),
        };
        let (class, sizes) = (replica.traits.class, SeenSizes::default());
        self.0.push(Slot { id, class, runner, sizes });
    }

    /// Takes the executor of a replica for a batch. Also returns true if the replica has not run
    /// this size before.
    pub(crate) fn take(
        &mut self,
        id: ReplicaId,
        rows: usize,
        key: &[usize],
    ) -> Option<(Running, bool)> {
        let slot = self.0.iter_mut().find(|slot| slot.id == id)?;
        let runner = match &mut slot.runner {
            SlotRunner::Direct(executor) => Runner::Direct(executor.take()?),
            SlotRunner::Async(executor) => Runner::Async(Arc::clone(executor)),
        };
        Some((Running { id, runner }, slot.sizes.insert(rows, key)))
    }

    /// Gives an executor back after its batch. Returns the executor of a replica that has left.
    pub(crate) fn give_back(&mut self, running: Running) -> Option<Runner> {
        let Some(slot) = self.0.iter_mut().find(|slot| slot.id == running.id) else {
            return Some(running.runner);
        };
        if let Runner::Direct(executor) = running.runner {
            slot.runner = SlotRunner::Direct(Some(executor));
        }
        None
    }

    /// Removes a replica that has left. Returns its executor, unless a batch has it.
    pub(crate) fn remove(&mut self, id: ReplicaId) -> Option<Runner> {
        let at = self.0.iter().position(|slot| slot.id == id)?;
        match self.0.swap_remove(at).runner {
            SlotRunner::Direct(executor) => executor.map(Runner::Direct),
            SlotRunner::Async(executor) => Some(Runner::Async(executor)),
        }
    }

    /// Notes that the replicas of a class have run a size.
    pub(crate) fn note_run(&mut self, class: ClassId, rows: usize) {
        for slot in self.0.iter_mut().filter(|slot| slot.class == class) {
            slot.sizes.insert(rows, &[]);
        }
    }

    /// Number of replicas that run on the thread that starts them.
    pub(crate) fn direct(&self) -> usize {
        self.0.iter().filter(|slot| matches!(slot.runner, SlotRunner::Direct(_))).count()
    }
}
