//! Description of a simulation.

use super::arrival::Arrivals;
use super::kind::Kind;
use super::machine::Machine;
use super::overhead::Overhead;
use super::random::Random;
use super::replica::SimulatedReplica;
use crate::batch::{Limits, Policy};
use crate::queue_policy::QueuePolicies;

/// Version of a model, its machine and its traffic.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Batching policy.
    pub policy: Policy,
    /// Limits of the batches, and the number of replicas.
    pub limits: Limits,
    /// Requests that may wait.
    pub requests_max: usize,
    /// Priority levels, and how many requests of each may wait.
    pub policies: QueuePolicies,
    /// Machine that runs the batches.
    pub machine: Machine,
    /// Replicas that differ, join, fail or leave; if empty, as many as the limits say, all alike.
    pub replicas: Vec<SimulatedReplica>,
    /// Time of requests outside of the queue and the runs.
    pub overhead: Overhead,
    /// Knowledge of the machine before the first request.
    pub known: Known,
    /// Arrivals of requests.
    pub traffic: Traffic,
    /// Kinds of requests, drawn by their weights; the default kind if there is none.
    pub kinds: Vec<Kind>,
    /// Period in which late requests are removed from the queue; never if `None`.
    pub expire_every_us: Option<u64>,
    /// Time when the queue closes: no request arrives later, and all that wait are answered.
    pub duration_us: u64,
}

impl Default for Scenario {
    /// Ten seconds of 1,000 requests a second on a machine that could do 9,600.
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            limits: Limits { rows_max: 64, objective_us: Some(50_000.0), replicas: 1 },
            requests_max: 4_096,
            policies: QueuePolicies::default(),
            machine: Machine::line(1_000.0, 100.0),
            replicas: Vec::new(),
            overhead: Overhead::default(),
            known: Known::Calibrated { factor: 1.0 },
            traffic: Traffic::Open(Arrivals::Poisson { per_s: 1_000.0 }),
            kinds: Vec::new(),
            expire_every_us: Some(10_000),
            duration_us: 10_000_000,
        }
    }
}

/// Arrivals of requests.
#[derive(Clone, Debug, PartialEq)]
pub enum Traffic {
    /// Whatever becomes of the others.
    Open(Arrivals),
    /// From callers that ask again some time after they are answered.
    Closed {
        /// Number of callers.
        callers: usize,
        /// Mean time from a response to the next request.
        think_us: f64,
    },
}

/// Knowledge of the machine's run times before the first request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Known {
    /// Nothing.
    Nothing,
    /// A run of each power of two of rows, up to the first of more than 50 ms.
    Calibrated {
        /// Error of the calibration: factor of its run times against the present ones.
        factor: f64,
    },
}

/// A run that took longer than this is the last that is tried.
const CALIBRATION_RUN_US_MAX: f64 = 50_000.0;

impl Scenario {
    /// The replicas that there will be.
    pub(super) fn replicas(&self) -> Vec<SimulatedReplica> {
        match &self.replicas[..] {
            [] => vec![SimulatedReplica::default(); self.limits.replicas.max(1)],
            replicas => replicas.to_vec(),
        }
    }

    /// Results of the calibration: rows and microseconds.
    pub(super) fn calibration_runs(
        &self,
        machine: &Machine,
        random: &mut Random,
    ) -> Vec<(usize, f64)> {
        let Known::Calibrated { factor } = self.known else { return Vec::new() };
        let mut tried = Vec::new();
        let mut rows = 1;
        loop {
            // The faster of two, as the engine tries them.
            let run_us = (0..2).map(|_| machine.run_us(rows, 0, random));
            let run_us = run_us.fold(f64::INFINITY, f64::min) * factor;
            tried.push((rows, run_us));
            if rows >= self.limits.rows_max || run_us > CALIBRATION_RUN_US_MAX {
                return tried;
            }
            rows = (rows * 2).min(self.limits.rows_max);
        }
    }
}
