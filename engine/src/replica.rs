//! A replica: one executor of one version, with the properties that it declares.

use crate::executor::{AsyncExecutor, Executor};
use std::sync::Arc;

mod seen_sizes;
mod slots;
#[cfg(test)]
mod tests;
pub(crate) mod thread_pool;

pub use skysail_policy::replica_set::{ClassId, ReplicaId, ReplicaState, Traits};
pub(crate) use slots::{Running, Slots};

/// One executor of one version.
pub struct Replica {
    pub(crate) runner: Runner,
    pub(crate) traits: Traits,
}

/// Executor of a replica.
pub(crate) enum Runner {
    /// Runs one batch at a time on the thread that calls it.
    Direct(Box<dyn Executor>),
    /// Runs batches elsewhere.
    Async(Arc<dyn AsyncExecutor>),
}

impl Replica {
    /// A replica that runs one batch at a time on the thread that starts it. Short batches may run
    /// on the thread of a caller.
    pub fn direct(executor: Box<dyn Executor>) -> Self {
        Self { runner: Runner::Direct(executor), traits: Traits::default() }
    }

    /// A replica that runs up to `in_flight_max` batches elsewhere.
    pub fn elsewhere(executor: Arc<dyn AsyncExecutor>, in_flight_max: usize) -> Self {
        let traits = Traits { in_flight_max, runs_inline: false, ..Traits::default() };
        Self { runner: Runner::Async(executor), traits }
    }

    /// Executor of a replica that runs on the thread that starts it.
    pub(crate) fn executor(&mut self) -> Option<&mut dyn Executor> {
        match &mut self.runner {
            Runner::Direct(executor) => Some(&mut **executor),
            Runner::Async(_) => None,
        }
    }

    /// Sets the class whose run times it shares.
    #[must_use]
    pub fn with_class(mut self, class: ClassId) -> Self {
        self.traits.class = class;
        self
    }
}
