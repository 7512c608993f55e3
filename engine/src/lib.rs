//! Serves ONNX models inside a process: a repository of versioned models, a bounded queue and
//! dynamic batches for each, and ONNX Runtime underneath. No sockets and no wire formats.
//!
//! The modules stand in the order of a request's path.

pub mod config;
pub mod engine;
pub mod error;
pub mod tensor;
pub mod payload;
pub mod signature;
pub mod labels;
pub mod batching;
pub mod batching_verdict;
pub mod parameters;
pub mod request;
pub mod padding;
pub mod ragged;
pub mod validate;
mod zero_elements;
mod response_reserve;
mod run_clock;
mod queue;
mod batch;
pub mod ticket;
mod cancel;
mod execute;
pub mod executor;
pub mod backend;
pub mod reply;
mod reshape;
pub mod replica;
mod session;
mod optional_inputs;
pub mod layers;
mod package;
pub mod model;
pub mod endpoint;
pub mod stage;
pub mod request_record;
pub mod observe;
mod sync;
pub mod probe;
mod load;
mod regular_file;
pub mod repository;
mod thread_priority;
pub mod runtime;
#[cfg(test)]
mod testing;

pub use batching::Batching;
pub use batching_verdict::BatchingVerdict;
pub use engine::Engine;
pub use error::Error;
pub use skysail_graph::{Independence, RowCause};
pub use skysail_policy::versions::VersionPolicy;
pub use skysail_policy::{cause, mix64, overload_pause, share_tracker};
