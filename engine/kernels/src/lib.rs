//! Kernels for compressed weights, and ONNX Runtime's custom operators over them.
//!
//! Also what else of the runtime and of memory takes unsafe code: tensors of strings, concurrent
//! runs of a session, and the heaps of the C library.

#![allow(
    unsafe_code,
    reason = "vector instructions, threads that write to one slice, and calls of the runtime and C"
)]

mod weights;
mod level;
mod lanes;
mod panel;
mod rows;
mod transpose;
mod matrix;
mod conv;
mod int8;
mod operators;
mod measure;
mod activation;
mod parallel;
mod scratch;
mod aligned;
mod strings;
mod shared_session;
mod heap;
mod error;

pub use activation::Activation;
pub use conv::{ConvInput, Convolution, Images, SparseConv};
pub use error::{Count, KernelError};
pub use heap::{give_back_ends, trim_heaps};
pub use int8::Int8Matrix;
pub use level::{LEVEL_VARIABLE, Level};
pub use matrix::{Finish, Formats, SparseMatrix};
pub use measure::{Candidate, Limits, Probe, median_times, min_cpu_times, thread_cpu_time};
pub use operators::{DOMAIN, DOMAIN_VERSION, INT8_MATMUL, OperatorWeights, operators};
pub use parallel::{Parallel, Serial};
pub use scratch::Scratch;
pub use shared_session::RunBinding;
pub use strings::{Strings, string_tensor};
pub use weights::SparseWeights;
