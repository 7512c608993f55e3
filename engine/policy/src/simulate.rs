//! Simulates the policies: requests that arrive by a law, replicas with modelled run times, and the
//! live engine's own scheduler. The same scenario and seed always have the same outcome.
//!
//! ```
//! use skysail_policy::simulate::{Arrivals, Machine, Scenario, Traffic, simulate};
//!
//! let scenario = Scenario {
//!     machine: Machine::line(1_000.0, 50.0),
//!     traffic: Traffic::Open(Arrivals::Poisson { per_s: 5_000.0 }),
//!     duration_us: 2_000_000,
//!     ..Scenario::default()
//! };
//! let outcome = simulate(&scenario, 1);
//! assert!(outcome.total.good_share() > 0.99);
//! assert!(outcome.total.latency_us(0.99) < 50_000);
//! assert_eq!(outcome, simulate(&scenario, 1));
//! ```

mod random;
mod arrival;
mod kind;
mod request;
mod machine;
mod replica;
mod overhead;
mod scenario;
mod outcome;
mod reference;
mod event;
mod run;
#[cfg(test)]
mod invariants;
#[cfg(test)]
mod tests;

pub use arrival::{Arrivals, Times};
pub use kind::{Cancelling, Deadline, Kind, WaitLimit};
pub use machine::{Cost, Hiccups, Machine, Noise, Pace};
pub use outcome::{INTERVAL_US, Interval, Outcome, Tally};
pub use overhead::{Level, Overhead};
pub use reference::{REFERENCE_MODELS, ReferenceModel};
pub use replica::SimulatedReplica;
pub use run::simulate;
pub use scenario::{Known, Scenario, Traffic};
