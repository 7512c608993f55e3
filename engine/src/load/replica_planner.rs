//! Makes the replicas of a version: as many, and of as many threads, as its runs are worth. Each
//! has run the batch sizes that it will run, unless their runs are long.

use super::calibrate::{BatchTimes, Calibration, Comparison, ONCE_ENOUGH};
use crate::backend::{BackendError, OpenVersion, ReplicaCost};
use crate::config::ReplicaConfig;
use crate::replica::Replica;
use crate::signature::Signature;
use parking_lot::Mutex;
use skysail_policy::replicas::{
    CHEAP_BATCH_ROWS, Cost, Pinned, Replicas, certainty, choose, cost, depends_on_efficiency,
    efficiency,
};
use std::sync::Arc;
use std::time::Duration;

/// Batch sizes at which numbers of threads are compared: a request alone, and a small batch.
const COMPARED_ROWS: [usize; 2] = [1, 4];

/// Longest wait for another version's comparison. Nobody waits for that of a slow model.
const COMPARING_WAIT_MAX: Duration = Duration::from_millis(250);

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
    /// Held while numbers of threads are compared: comparisons disturb each other.
    pub(super) comparing: &'a Mutex<()>,
}

impl ReplicaPlanner<'_, '_> {
    /// Makes the replicas. `first` has the first number of threads of the settings, and `known` the
    /// times of its runs so far.
    pub(super) fn make(
        mut self,
        mut first: Replica,
        mut known: BatchTimes,
    ) -> Result<PlannedReplicas, BackendError> {
        let ReplicaConfig { count, threads, .. } = *self.config;
        let pinned = Pinned { count, threads };
        let first_threads = self.config.first_threads();
        if self.version.replica_cost() == ReplicaCost::Elsewhere {
            return self.replicas(Some(first), count.unwrap_or(1), first_threads, &known);
        }
        let cost = self.cost(&mut first, first_threads, &mut known);
        if depends_on_efficiency(pinned, cost, self.cores) {
            return self.compare(first, known);
        }
        let Replicas { count, threads } = choose(pinned, cost, None, self.cores);
        match threads == first_threads {
            true => self.replicas(Some(first), count, threads, &known),
            false => self.replicas(None, count, threads, &[]),
        }
    }

    fn signature(&self) -> Arc<Signature> {
        Arc::clone(self.version.signature())
    }

    /// Finds the cost of a run. Runs that it takes are added to those known.
    fn cost(&self, first: &mut Replica, threads: usize, known: &mut BatchTimes) -> Cost {
        let Some(executor) = first.executor() else { return Cost::Cheap };
        let clock = self.version.clock(threads);
        let mut calibration = Calibration::new(executor, self.version.signature(), clock);
        let mut measure = |rows: usize| {
            let known_us = known.iter().find(|(of, _)| *of == rows).map(|(_, run_us)| *run_us);
            known_us.or_else(|| {
                let run_us = calibration.measure(rows)?;
                known.push((rows, run_us));
                Some(run_us)
            })
        };
        let row_us = measure(1);
        let batch_rows = self.rows_max.min(CHEAP_BATCH_ROWS);
        let is_long = cost(row_us, None) == Cost::Long;
        if is_long || batch_rows < 2 {
            return cost(row_us, None);
        }
        let row_of_batch_us = measure(batch_rows).map(|us| us / batch_rows as f64);
        cost(row_us, row_of_batch_us)
    }

    /// Compares one thread, which `first` has, with all cores, and makes what is better.
    fn compare(
        mut self,
        mut first: Replica,
        known: BatchTimes,
    ) -> Result<PlannedReplicas, BackendError> {
        let mut all = self.version.replica(self.cores)?;
        let cores = self.cores;
        let [of_one, of_all] = self.times_of_both(&mut first, &mut all, &known);
        tracing::debug!("{of_one:?} us on one thread, {of_all:?} on {cores}");
        let efficiency = efficiency(&of_one, &of_all, cores);
        let Replicas { count, threads } = choose(Pinned::default(), Cost::Long, efficiency, cores);
        let (fitting, known) = match threads {
            1 => {
                drop(all);
                (Some(first), known)
            }
            _ => {
                drop(first);
                // Those times are of all cores.
                (Some(all), if threads == cores { of_all } else { BatchTimes::new() })
            }
        };
        let fitting = fitting.filter(|_| threads == 1 || threads == cores);
        self.replicas(fitting, count, threads, &known)
    }

    /// Run times on one thread and on all cores. A run that is long enough to stand alone is not
    /// made again.
    fn times_of_both(
        &self,
        first: &mut Replica,
        all: &mut Replica,
        known: &BatchTimes,
    ) -> [BatchTimes; 2] {
        let (signature, clock) = (self.signature(), self.version.clock(self.cores));
        let (Some(one), Some(all)) = (first.executor(), all.executor()) else {
            return [BatchTimes::new(), BatchTimes::new()];
        };
        let Self { rows_max, run_max, cores, comparing, .. } = *self;
        let is_long = |row: &&(usize, f64)| row.0 == 1 && row.1 > ONCE_ENOUGH.as_secs_f64() * 1e6;
        if let Some(row) = known.iter().find(is_long) {
            let of_all = Calibration::new(all, &signature, clock).measure(1);
            return [vec![*row], of_all.map(|run_us| (1, run_us)).into_iter().collect()];
        }
        let _alone = comparing.try_lock_for(COMPARING_WAIT_MAX);
        let certainty = |[of_one, of_all]: &[BatchTimes; 2]| {
            certainty(efficiency(of_one, of_all, cores), cores)
        };
        let (signature, rows, certainty) = (&*signature, &COMPARED_ROWS, &certainty);
        let comparison = Comparison { signature, rows_max, clock, rows, run_max, certainty };
        comparison.run([one, all])
    }

    /// Makes `count` replicas and lets each run the sizes that it will run. Sizes that are `known`
    /// do not run again.
    fn replicas(
        &mut self,
        existing: Option<Replica>,
        count: usize,
        threads: usize,
        known: &[(usize, f64)],
    ) -> Result<PlannedReplicas, BackendError> {
        let mut replicas = self.version.replicas(existing, count, threads)?;
        let (signature, clock) = (self.signature(), self.version.clock(threads));
        let mut run_times = BatchTimes::new();
        for (index, executor) in replicas.iter_mut().filter_map(Replica::executor).enumerate() {
            let mut calibration = Calibration::new(executor, &signature, clock);
            match index {
                0 => run_times = calibration.sweep(self.rows_max, self.run_max, known),
                _ if self.version.shares_runs(threads) => continue,
                _ => calibration.rerun(&run_times, self.run_max),
            }
            // A single size leaves no more than requests need.
            if run_times.len() > 1 {
                calibration.shrink();
            }
        }
        Ok(PlannedReplicas { replicas, threads, run_times })
    }
}
