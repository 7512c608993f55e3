//! Load tests for any server of the Open Inference Protocol: [`prepare`] encodes a request
//! once, [`run`] sends it over many connections and times the answers.
//!
//! A closed loop finds how much a server can do: each connection waits for its answer before
//! it asks again. An open loop finds how long users wait: requests go out at their own times
//! whether or not earlier ones were answered, and their latency counts from the time at which
//! they were meant to go, so that a stall shows in every request that it delayed.

pub mod arrival;
pub mod capacity;
pub mod confidence;
mod get;
pub mod payload;
pub mod target;
mod timer;
mod busy;
mod mix;
pub mod record;
mod load;
mod error;
mod worker;
pub mod report;
mod prepare;
mod run;
pub mod server_settings;
pub mod server_statistics;
pub mod quantiles;
pub mod profile;
pub mod plan;
pub mod tail;
pub mod compare;

pub use error::Error;
pub use load::Load;
pub use prepare::{Kind, Prepared, prepare, prepare_mix};
pub use run::{Progress, run};
