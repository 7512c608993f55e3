//! Divides the machine: the last core for the client, the others for the server. The client thus
//! stands for clients on other machines.

use anyhow::Result;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::io::Write;

/// Cores of server and client.
pub(crate) struct Cores {
    server: CpuSet,
    client: CpuSet,
}

impl Cores {
    /// Divides the cores of this thread. A single core is shared, with a note to `out`.
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
        writeln!(out, "\nThe client shares the server's only core.")?;
        Ok(Self { server: all, client: all })
    }

    /// Starts a process on the server's cores, and continues on the client's.
    pub(crate) fn start<T>(&self, server: impl FnOnce() -> Result<T>) -> Result<T> {
        // A process inherits the cores of the thread that starts it.
        sched_setaffinity(None, &self.server)?;
        let started = server();
        sched_setaffinity(None, &self.client)?;
        started
    }
}
