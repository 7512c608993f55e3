//! Makes the replicas of a version: as many, and of as many threads, as its runs are worth. Each
//! has run every batch size that it will run.

use super::calibrate::{BatchTimes, Calibration, Comparison};
use crate::backend::{BackendError, OpenVersion, ReplicaCost};
use crate::config::ReplicaConfig;
use crate::replica::Replica;
use crate::signature::Signature;
use skysail_policy::replicas::{
    CHEAP_BATCH_ROWS, Cost, Pinned, Replicas, choose, cost, depends_on_efficiency, efficiency,
};
use std::sync::Arc;
use std::time::Duration;

/// Batch sizes at which numbers of threads are compared: a request alone, and a small batch.
const COMPARED_ROWS: [usize; 2] = [1, 4];

/// The replicas of one version.
pub(super) struct PlannedReplicas {
    pub(super) replicas: Vec<Replica>,
    /// Threads of each.
    pub(super) threads: usize,
    /// Calibration of the first.
    pub(super) run_times: BatchTimes,
}

/// Plans and makes the replicas of one version.
pub(super) struct ReplicaPlanner<'a, 'v> {
    pub(super) version: &'a mut (dyn OpenVersion + 'v),
    pub(super) config: &'a ReplicaConfig,
    /// Rows of the largest batch; 0 if requests run alone.
    pub(super) rows_max: usize,
    pub(super) cores: usize,
    /// A longer run ends the calibration.
    pub(super) run_max: Duration,
}

impl ReplicaPlanner<'_, '_> {
    /// Makes the replicas. `first` has the first number of threads of the settings.
    pub(super) fn make(mut self, mut first: Replica) -> Result<PlannedReplicas, BackendError> {
        let ReplicaConfig { count, threads, .. } = *self.config;
        let pinned = Pinned { count, threads };
        let first_threads = self.config.first_threads();
        if self.version.replica_cost() == ReplicaCost::Elsewhere {
            return self.replicas(Some(first), count.unwrap_or(1), first_threads);
        }
        let cost = self.cost(&mut first, first_threads);
        if depends_on_efficiency(pinned, cost, self.cores) {
            return self.compare(first);
        }
        let Replicas { count, threads } = choose(pinned, cost, None, self.cores);
        self.replicas((threads == first_threads).then_some(first), count, threads)
    }

    fn signature(&self) -> Arc<Signature> {
        Arc::clone(self.version.signature())
    }

    fn cost(&self, first: &mut Replica, threads: usize) -> Cost {
        let Some(executor) = first.executor() else { return Cost::Cheap };
        let clock = self.version.clock(threads);
        let mut calibration = Calibration::new(executor, self.version.signature(), clock);
        let row_us = calibration.measure(1);
        let batch_rows = self.rows_max.min(CHEAP_BATCH_ROWS);
        let is_long = cost(row_us, None) == Cost::Long;
        if is_long || batch_rows < 2 {
            return cost(row_us, None);
        }
        let row_of_batch_us = calibration.measure(batch_rows).map(|us| us / batch_rows as f64);
        cost(row_us, row_of_batch_us)
    }

    /// Compares one thread, which `first` has, with all cores, and makes what is better.
    fn compare(mut self, mut first: Replica) -> Result<PlannedReplicas, BackendError> {
        let mut all = self.version.replica(self.cores)?;
        let (signature, clock) = (self.signature(), self.version.clock(self.cores));
        let Self { rows_max, run_max, cores, .. } = self;
        let (signature, rows) = (&*signature, &COMPARED_ROWS);
        let comparison = Comparison { signature, rows_max, clock, rows, run_max };
        let efficiency = match (first.executor(), all.executor()) {
            (Some(one), Some(all)) => {
                let [of_one, of_all] = comparison.run([one, all]);
                tracing::debug!("{of_one:?} us on one thread, {of_all:?} on {cores}");
                efficiency(&of_one, &of_all, cores)
            }
            _ => None,
        };
        let Replicas { count, threads } = choose(Pinned::default(), Cost::Long, efficiency, cores);
        let fitting = match threads {
            1 => {
                drop(all);
                first
            }
            _ => {
                drop(first);
                all
            }
        };
        self.replicas(Some(fitting), count, threads)
    }

    /// Makes `count` replicas and lets each run every size.
    fn replicas(
        &mut self,
        existing: Option<Replica>,
        count: usize,
        threads: usize,
    ) -> Result<PlannedReplicas, BackendError> {
        let mut replicas = self.version.replicas(existing, count, threads)?;
        let (signature, clock) = (self.signature(), self.version.clock(threads));
        let mut run_times = BatchTimes::new();
        for (index, executor) in replicas.iter_mut().filter_map(Replica::executor).enumerate() {
            let mut calibration = Calibration::new(executor, &signature, clock);
            match index {
                0 => run_times = calibration.sweep(self.rows_max, self.run_max),
                _ => calibration.rerun(&run_times, self.run_max),
            }
        }
        Ok(PlannedReplicas { replicas, threads, run_times })
    }
}
