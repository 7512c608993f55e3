//! Training runs from end to end: recipes, ranks, failures, resuming, and the command line.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a test panics, and prints what it skips"
)]

mod support;
mod training;
mod resume;
mod recipes;
mod command_line;
