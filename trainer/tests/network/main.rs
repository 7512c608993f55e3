//! Networks: what they compute against ONNX Runtime, and their gradients against differences.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test panics")]
#![allow(clippy::print_stdout, reason = "says what it skips, and what it is at")]

mod numbers;
mod runtime;
mod forward;
mod differences;
mod operators;
mod learning;
mod refusals;
