//! Networks: outputs compared with ONNX Runtime, and gradients with finite differences.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test panics")]
#![allow(clippy::print_stdout, reason = "prints skipped and current cases")]

mod numbers;
mod runtime;
mod forward;
mod differences;
mod operators;
mod learning;
mod errors;
