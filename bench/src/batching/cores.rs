//! Shares the machine out: the last core to the client, the others to the server. So the client
//! stands for callers on other machines, whose work takes nothing from the server's.

use anyhow::Result;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Who may run where.
pub(super) struct Cores {
    server: CpuSet,
    client: CpuSet,
}

impl Cores {
    /// Of what this thread may use, or none if that is one core.
    pub(super) fn split() -> Result<Option<Self>> {
        let all = sched_getaffinity(None)?;
        let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&core| all.is_set(core)).collect();
        let [server @ .., client] = cores.as_slice() else { return Ok(None) };
        let set = |cores: &[usize]| {
            let mut set = CpuSet::new();
            cores.iter().for_each(|&core| set.set(core));
            set
        };
        let cores = Self { server: set(server), client: set(&[*client]) };
        Ok(Some(cores).filter(|_| !server.is_empty()))
    }

    /// Starts a process on the server's, and goes on with the client's alone.
    pub(super) fn start<T>(&self, server: impl FnOnce() -> Result<T>) -> Result<T> {
        // A process inherits the cores of the thread that starts it.
        sched_setaffinity(None, &self.server)?;
        let started = server();
        sched_setaffinity(None, &self.client)?;
        started
    }
}
