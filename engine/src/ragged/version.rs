//! A version with ragged inputs: its replicas take batches of requests of different shapes.

use super::executor::RaggedExecutor;
use super::plan::RaggedPlan;
use crate::backend::{BackendError, OpenVersion, ReplicaCost, RunClock};
use crate::layers::Layers;
use crate::replica::{Replica, Runner};
use crate::signature::Signature;
use skysail_graph::{Independence, RowCause};
use std::sync::Arc;

/// A version whose graph takes all requests of a batch joined flat.
pub(crate) struct RaggedVersion<'a> {
    pub(crate) inner: Box<dyn OpenVersion + 'a>,
    pub(crate) plan: RaggedPlan,
}

impl RaggedVersion<'_> {
    fn wrap(&self, replica: Replica) -> Result<Replica, BackendError> {
        let Replica { runner, traits } = replica;
        let Runner::Direct(inner) = runner else {
            let problem = "its backend runs batches elsewhere, and takes no ragged ones";
            return Err(BackendError::new(problem));
        };
        let (inputs, required) = (Arc::clone(&self.plan.inputs), self.plan.signature.inputs.len());
        let executor = RaggedExecutor { inner, inputs, required };
        Ok(Replica { runner: Runner::Direct(Box::new(executor)), traits })
    }
}

impl OpenVersion for RaggedVersion<'_> {
    fn signature(&self) -> &Arc<Signature> {
        &self.plan.signature
    }

    /// Nothing, as the graph has no rows: the configuration says that it tells requests apart.
    fn row_independence(&self) -> Independence {
        let problem = "its requests are joined flat".into();
        Independence::Unknown(RowCause { node: None, problem })
    }

    fn layers(&self) -> Option<Layers> {
        self.inner.layers()
    }

    fn replica(&mut self, threads: usize) -> Result<Replica, BackendError> {
        let replica = self.inner.replica(threads)?;
        self.wrap(replica)
    }

    fn replicas(
        &mut self,
        existing: Option<Replica>,
        count: usize,
        threads: usize,
    ) -> Result<Vec<Replica>, BackendError> {
        let mut replicas: Vec<Replica> = existing.into_iter().take(count).collect();
        // The existing one is wrapped already.
        for replica in self.inner.replicas(None, count - replicas.len(), threads)? {
            replicas.push(self.wrap(replica)?);
        }
        Ok(replicas)
    }

    fn shares_runs(&self, threads: usize) -> bool {
        self.inner.shares_runs(threads)
    }

    fn clock(&self, threads: usize) -> RunClock {
        self.inner.clock(threads)
    }

    fn replica_cost(&self) -> ReplicaCost {
        self.inner.replica_cost()
    }
}
