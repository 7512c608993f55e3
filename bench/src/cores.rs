//! Shares the machine out: the last core to the client, the others to the server. So the client
//! stands for callers on other machines, whose work takes nothing from the server's.

use anyhow::Result;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::io::Write;

/// Who may run where.
pub(crate) struct Cores {
    server: CpuSet,
    client: CpuSet,
}

impl Cores {
    /// Of what this thread may use. On a single core they share that, which `out` is told.
    pub(crate) fn split(out: &mut impl Write) -> Result<Self> {
        let all = sched_getaffinity(None)?;
        let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&core| all.is_set(core)).collect();
        let set = |cores: &[usize]| {
            let mut set = CpuSet::new();
            cores.iter().for_each(|&core| set.set(core));
            set
        };
        if let [server @ .., client] = cores.as_slice()
            && !server.is_empty()
        {
            return Ok(Self { server: set(server), client: set(&[*client]) });
        }
        writeln!(out, "\nThe client runs on the server's only core: its work counts.")?;
        Ok(Self { server: all, client: all })
    }

    /// Starts a process on the server's, and goes on with the client's alone.
    pub(crate) fn start<T>(&self, server: impl FnOnce() -> Result<T>) -> Result<T> {
        // A process inherits the cores of the thread that starts it.
        sched_setaffinity(None, &self.server)?;
        let started = server();
        sched_setaffinity(None, &self.client)?;
        started
    }
}
