//! A replica of a simulation: its class and speed, and when it joins, fails and leaves.

use super::machine::Machine;
use crate::replica_set::{ClassId, Traits};

/// Time after which a failed replica refuses a batch.
const REFUSAL_US: f64 = 500.0;

/// Replica of a scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct SimulatedReplica {
    /// Class whose run times it shares.
    pub class: u16,
    /// Machine that it runs on; that of the scenario if `None`.
    pub machine: Option<Machine>,
    /// Batches that it runs side by side.
    pub in_flight_max: usize,
    /// Time at which it joins.
    pub joins_us: u64,
    /// Time from then until it is ready.
    pub starting_us: u64,
    /// Times from and up to which it fails all batches.
    pub failures_us: Vec<(u64, u64)>,
    /// Time at which it is told to leave.
    pub leaves_us: Option<u64>,
}

impl Default for SimulatedReplica {
    /// Runs a batch at a time on the machine of the scenario, from the beginning to the end.
    fn default() -> Self {
        Self {
            class: 0,
            machine: None,
            in_flight_max: 1,
            joins_us: 0,
            starting_us: 0,
            failures_us: Vec::new(),
            leaves_us: None,
        }
    }
}

impl SimulatedReplica {
    pub(super) fn traits(&self) -> Traits {
        let class = ClassId(self.class);
        Traits { class, in_flight_max: self.in_flight_max, runs_inline: true }
    }

    /// Time after which a batch that starts now is rejected, while the replica fails.
    pub(super) fn refuses_in_us(&self, now_us: u64) -> Option<f64> {
        let fails = self.failures_us.iter().any(|&(from, to)| (from..to).contains(&now_us));
        fails.then_some(REFUSAL_US)
    }
}
