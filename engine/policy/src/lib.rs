//! The engine's decisions, and nothing else: each is a function of a state, an event and the
//! time it is given. No I/O, no clock, no threads, so that simulated time can drive them.

pub mod batch;
pub mod place;
pub mod run_time;
pub mod versions;
