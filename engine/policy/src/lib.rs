//! The engine's decisions, and nothing else: each is a function of a state, an event and the
//! time it is given. No I/O, no clock, no threads, so that simulated time can drive them.

pub mod ablation;
pub mod priority;
pub mod queue_policy;
pub mod run_time;
pub mod objective;
mod admission_margin;
pub mod admission;
pub mod ready_queue;
pub mod batch;
pub mod inline_run;
pub mod replica_set;
pub mod scheduler;
pub mod replicas;
pub mod versions;
pub mod load_order;
pub mod cause;
pub mod select;
pub mod overload_pause;
pub mod response_order;
pub mod response_reserve;
pub mod share_tracker;
mod mix;
pub mod simulate;

pub use mix::mix64;
