//! Load tests for any server of the Open Inference Protocol: [`prepare`] encodes a request once,
//! [`run`] sends it over many connections and times the responses.
//!
//! A closed loop measures throughput: each connection waits for its response before it sends again.
//! An open loop measures latency as users see it: requests go out at their scheduled times whether
//! or not earlier ones were answered. Latency counts from the scheduled time, so that a stall shows
//! in every request that it delayed.

pub mod arrival;
pub mod capacity;
pub mod confidence;
pub mod payload;
pub mod target;
mod timer;
mod utilization;
mod calendar;
mod bootstrap;
mod intervals;
pub mod trace;
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
pub use prepare::{Prepared, RequestKind, prepare, prepare_mix};
pub use run::{Progress, run};
