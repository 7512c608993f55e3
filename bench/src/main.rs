//! Command line of the benchmarks. Each prints its figures beside their targets.

mod ab;
mod alternation;
mod bare_responder;
mod build;
mod comparison;
mod targets;
mod batching;
mod compression;
mod cores;
mod engine_under_test;
mod http;
mod progress;
mod limit;
mod load;
mod loadgen;
mod open_files;
mod parameters;
mod planning;
mod process;
mod serve;
mod session_alone;
mod startup;
mod tracing;
mod training;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Benchmarks of Skysail, on the release build and this machine
#[derive(Parser)]
#[command(version, about)]
struct Flags {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Subcommand)]
enum Benchmark {
    /// Two builds of the server against each other: throughput, CPU time, memory, start
    Ab(ab::Flags),
    /// The server: request path, many connections, many models, large bodies, loading, each beside
    /// its limit or an older build
    Serve(serve::Flags),
    /// The start: time until many models are loaded, and the runs of a slow one before it is ready
    Startup(startup::Flags),
    /// Batching policies: goodput against fixed settings, overload, bursts, cost of a decision, a
    /// neighbour
    Batching(batching::Flags),
    /// Packages: size, decoding, kernels for sparse weights, whole models, loading
    Compression(compression::Flags),
    /// Custom parameters: time of a JSON request with them and without
    Parameters(parameters::Flags),
    /// Plans: predicted latencies beside measured ones
    Planning(planning::Flags),
    /// Request records: throughput with and without, and the cost of one record
    Tracing(tracing::Flags),
    /// Training: time of a step, bytes on the wire, ranks under MPI, recipes
    Training(training::Flags),
    /// One session of ONNX Runtime in a process of its own
    #[command(hide = true)]
    SessionAlone(session_alone::Flags),
    /// The load generator: its own limit, and its agreement with others
    Loadgen(loadgen::Flags),
}

fn main() -> ExitCode {
    let result: Result<()> = match Flags::parse().benchmark {
        Benchmark::Ab(flags) => ab::run(&flags),
        Benchmark::Serve(flags) => serve::run(&flags),
        Benchmark::SessionAlone(flags) => session_alone::run(&flags),
        Benchmark::Startup(flags) => startup::run(&flags),
        Benchmark::Batching(flags) => batching::run(&flags),
        Benchmark::Compression(flags) => compression::run(&flags),
        Benchmark::Loadgen(flags) => loadgen::run(&flags),
        Benchmark::Parameters(flags) => parameters::run(&flags),
        Benchmark::Planning(flags) => planning::run(&flags),
        Benchmark::Tracing(flags) => tracing::run(&flags),
        Benchmark::Training(flags) => training::run(&flags),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

#[expect(clippy::print_stderr, reason = "says why the command failed")]
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("skysail-bench: {error:#}");
    ExitCode::FAILURE
}
