//! Tests of the program `skysail-pack`: flags, files, output and exit status.

#![cfg(feature = "pack")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test panics, and says what it skips"
)]

mod support;
mod lossless;
mod lossy;
mod accuracy;
mod errors;
mod keys;
mod interrupt;
