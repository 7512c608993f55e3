//! The engine's decisions, and nothing else: each is a function of a state, an event and the
//! time it is given. No I/O, no clock, no threads, so that simulated time can drive them.

pub mod urgency;
pub mod run_time;
pub mod objective;
mod caution;
pub mod admit;
pub mod waiting;
pub mod batch;
pub mod place;
pub mod scheduler;
pub mod replicas;
pub mod versions;
pub mod cause;
pub mod simulate;
