//! Load tests for any server of the Open Inference Protocol: [`prepare`] encodes a request
//! once, [`run`] sends it over many connections and times the answers.
//!
//! A closed loop finds how much a server can do: each connection waits for its answer before
//! it asks again. An open loop finds how long users wait: requests go out at their own times
//! whether or not earlier ones were answered, and their latency counts from the time at which
//! they were meant to go, so that a stall shows in every request that it delayed.

pub mod arrival;
pub mod payload;
pub mod target;
mod timer;
pub mod record;
mod worker;
pub mod report;
mod run;

pub use run::{Error, Load, Prepared, Progress, prepare, run};
