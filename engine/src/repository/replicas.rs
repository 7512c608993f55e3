//! Makes the executors of a version: as many, and of as many threads, as its runs are worth. Each
//! has run every size it will run in.

use crate::load::calibrate::{BatchTimes, Calibration, Comparison};
use crate::session::{OrtExecutor, SessionError, SessionMaker};
use crate::signature::Signature;
use ort::session::Session;
use skysail_policy::replicas::{
    CHEAP_BATCH_ROWS, Cost, Pinned, Replicas, choose, cost, depends_on_efficiency, efficiency,
};
use std::sync::Arc;
use std::time::Duration;

/// Replicas that share their weights, at least. What they share is the weights as they were and
/// as they are packed for the processor, so that two replicas gain nothing.
const SHARING_MIN: usize = 3;

/// Batch sizes at which threads are compared: for those who come alone, and for a crowd.
const COMPARED_ROWS: [usize; 2] = [1, 4];

/// The executors of one version.
pub(super) struct Team {
    pub(super) executors: Vec<OrtExecutor>,
    /// Threads of each.
    pub(super) threads: usize,
    /// What the first was tried with.
    pub(super) run_times: BatchTimes,
}

/// Makes a team.
pub(super) struct TeamMaker<'a> {
    pub(super) sessions: SessionMaker<'a>,
    pub(super) signature: Arc<Signature>,
    pub(super) cores: usize,
    /// A longer run ends the calibration.
    pub(super) run_max: Duration,
}

impl TeamMaker<'_> {
    /// A team, made from the first executor.
    pub(super) fn make(&self, mut first: OrtExecutor) -> Result<Team, SessionError> {
        let config = self.sessions.config;
        let pinned = Pinned { count: config.count, threads: config.threads };
        let first_threads = config.first_threads();
        let cost = self.cost(&mut first, first_threads);
        if depends_on_efficiency(pinned, cost, self.cores) {
            return self.compare(first);
        }
        let Replicas { count, threads } = choose(pinned, cost, None, self.cores);
        self.team((threads == first_threads).then_some(first), count, threads)
    }

    fn cost(&self, first: &mut OrtExecutor, threads: usize) -> Cost {
        let mut calibration = Calibration::new(first, &self.signature, threads);
        let row_us = calibration.measure(1);
        let batch_rows = self.signature.batch_rows_max.min(CHEAP_BATCH_ROWS);
        let is_long = cost(row_us, None) == Cost::Long;
        if is_long || batch_rows < 2 {
            return cost(row_us, None);
        }
        let row_of_batch_us = calibration.measure(batch_rows).map(|us| us / batch_rows as f64);
        cost(row_us, row_of_batch_us)
    }

    /// Compares one thread, which `first` has, with all cores, and does what follows from that.
    fn compare(&self, mut first: OrtExecutor) -> Result<Team, SessionError> {
        let mut all = self.executor(self.sessions.session(self.cores)?)?;
        let (signature, run_max) = (&*self.signature, self.run_max);
        let comparison =
            Comparison { signature, threads: self.cores, rows: &COMPARED_ROWS, run_max };
        let [of_one, of_all] = comparison.run([&mut first, &mut all]);
        let efficiency = efficiency(&of_one, &of_all, self.cores);
        let Replicas { count, threads } =
            choose(Pinned::default(), Cost::Long, efficiency, self.cores);
        let path = self.sessions.path.display();
        tracing::debug!("{path}: {of_one:?} us on one thread, {of_all:?} on {}", self.cores);
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
        self.team(Some(fitting), count, threads)
    }

    /// A team of so many, among them, if that helps, one that exists.
    fn team(
        &self,
        existing: Option<OrtExecutor>,
        count: usize,
        threads: usize,
    ) -> Result<Team, SessionError> {
        let mut executors: Vec<_> = existing.into_iter().collect();
        let mut sessions = Vec::new();
        if count >= SHARING_MIN {
            executors.clear();
            sessions = self.sharing(count, threads);
        }
        for _ in executors.len() + sessions.len()..count {
            sessions.push(self.sessions.session(threads)?);
        }
        for session in sessions {
            executors.push(self.executor(session)?);
        }
        Ok(self.tried(executors, threads))
    }

    fn executor(&self, session: Session) -> Result<OrtExecutor, SessionError> {
        OrtExecutor::new(session, Arc::clone(&self.signature))
    }

    /// A team of these, after each has run every size.
    fn tried(&self, mut executors: Vec<OrtExecutor>, threads: usize) -> Team {
        let mut run_times = BatchTimes::new();
        for (index, executor) in executors.iter_mut().enumerate() {
            let mut calibration = Calibration::new(executor, &self.signature, threads);
            match index {
                0 => run_times = calibration.sweep(self.signature.batch_rows_max, self.run_max),
                _ => calibration.rerun(&run_times, self.run_max),
            }
        }
        Team { executors, threads, run_times }
    }

    /// Sessions that share their weights; none when they can not.
    fn sharing(&self, count: usize, threads: usize) -> Vec<Session> {
        self.sessions.sharing(threads, count).unwrap_or_else(|error| {
            let path = self.sessions.path.display();
            tracing::warn!("{path}: each of {count} replicas has weights of its own: {error}");
            Vec::new()
        })
    }
}
