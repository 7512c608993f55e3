//! Makes the executors of a version: as many, and of as many threads, as its runs are worth. Each
//! has run every size it will run in.

use super::tries::{self, RunTimes, Tries};
use crate::session::{OrtExecutor, SessionError, SessionMaker};
use crate::signature::Signature;
use ort::session::Session;
use skysail_policy::replicas::{
    Pinned, Replicas, choose, depends_on_efficiency, efficiency, is_long,
};
use std::sync::Arc;
use std::time::Duration;

/// The executors of one version.
pub(super) struct Team {
    pub(super) executors: Vec<OrtExecutor>,
    /// Threads of each.
    pub(super) threads: usize,
    /// What the first was tried with.
    pub(super) run_times: RunTimes,
}

/// Makes a team.
pub(super) struct TeamMaker<'a> {
    pub(super) sessions: SessionMaker<'a>,
    pub(super) signature: Arc<Signature>,
    pub(super) cores: usize,
    /// A longer run ends the tries.
    pub(super) run_max: Duration,
}

impl TeamMaker<'_> {
    /// A team, made from the first executor.
    pub(super) fn make(&self, mut first: OrtExecutor) -> Result<Team, SessionError> {
        let config = self.sessions.config;
        let pinned = Pinned { count: config.count, threads: config.threads };
        let first_threads = self.sessions.first_threads();
        let row_us = Tries::new(&mut first, &self.signature, first_threads).time(1);
        let is_long = is_long(row_us);
        if depends_on_efficiency(pinned, is_long, self.cores) {
            return self.compare(first);
        }
        let Replicas { count, threads } = choose(pinned, is_long, None, self.cores);
        if (count, threads) == (1, first_threads) {
            return Ok(self.tried(vec![first], threads));
        }
        drop(first);
        self.several(count, threads)
    }

    /// Compares one thread, which `first` has, with all cores, and does what follows from that.
    fn compare(&self, mut first: OrtExecutor) -> Result<Team, SessionError> {
        let mut all = self.executor(self.sessions.session(self.cores)?)?;
        let [of_one, of_all] = tries::compare(&mut first, &mut all, &self.signature);
        let efficiency = efficiency(&of_one, &of_all, self.cores);
        let Replicas { count, threads } = choose(Pinned::default(), true, efficiency, self.cores);
        let path = self.sessions.path.display();
        tracing::debug!("{path}: {of_one:?} us on one thread, {of_all:?} on {}", self.cores);
        drop(first);
        if threads == self.cores {
            return Ok(self.tried(vec![all], threads));
        }
        drop(all);
        self.several(count, threads)
    }

    /// A team of new sessions.
    fn several(&self, count: usize, threads: usize) -> Result<Team, SessionError> {
        let sessions = match count {
            1 => vec![self.sessions.session(threads)?],
            _ => self.sharing(count, threads)?,
        };
        let executors = sessions.into_iter().map(|session| self.executor(session));
        Ok(self.tried(executors.collect::<Result<_, _>>()?, threads))
    }

    fn executor(&self, session: Session) -> Result<OrtExecutor, SessionError> {
        OrtExecutor::new(session, Arc::clone(&self.signature))
    }

    /// A team of these, after each has run every size.
    fn tried(&self, mut executors: Vec<OrtExecutor>, threads: usize) -> Team {
        let mut run_times = RunTimes::new();
        for (index, executor) in executors.iter_mut().enumerate() {
            let mut tries = Tries::new(executor, &self.signature, threads);
            match index {
                0 => run_times = tries.grow(self.signature.batch_rows_max, self.run_max),
                _ => tries.repeat(&run_times),
            }
        }
        Team { executors, threads, run_times }
    }

    /// Sessions that share their weights, if they can.
    fn sharing(&self, count: usize, threads: usize) -> Result<Vec<Session>, SessionError> {
        self.sessions.sharing(threads, count).or_else(|error| {
            let path = self.sessions.path.display();
            tracing::warn!("{path}: each of {count} replicas has weights of its own: {error}");
            (0..count).map(|_| self.sessions.session(threads)).collect()
        })
    }
}
