//! Observation of a model: statistics, the slowest requests, limited logging, and the watchdog.

pub mod histogram;
pub mod log_limiter;
pub mod slowest;
pub mod statistics;
pub(crate) mod watchdog;
