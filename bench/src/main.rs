//! The benchmarks' command line. Each prints its figures beside their limit or bar.

mod ab;
mod bare_responder;
mod targets;
mod batching;
mod compression;
mod cores;
mod engine_under_test;
mod progress;
mod limit;
mod load;
mod loadgen;
mod planning;
mod process;
mod serve;
mod tracing;
mod training;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Benchmarks of Skysail, on the release build and this machine.
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
    /// The request path: throughput, latency and processor time against ONNX Runtime in process.
    Serve(serve::Flags),
    /// Batching policies: goodput within an objective against every setting by hand, overload,
    /// bursts, the cost of a decision, and a neighbour that is loaded and unloaded.
    Batching(batching::Flags),
    /// Packages: their size, decoding, the kernels for sparse weights, whole models, loading.
    Compression(compression::Flags),
    /// Plans: latencies predicted from a capacity profile beside those measured.
    Planning(planning::Flags),
    /// Tracing: throughput with and without, and what noting one request costs.
    Tracing(tracing::Flags),
    /// Training: the time of a step, bytes on the wire, ranks under MPI, and the recipes.
    Training(training::Flags),
    /// The load generator: what one thread of it drives, and whether it agrees with others.
    Loadgen(loadgen::Flags),
}

fn main() -> ExitCode {
    let result: Result<()> = match Flags::parse().benchmark {
        Benchmark::Ab(flags) => ab::run(&flags),
        Benchmark::Serve(flags) => serve::run(&flags),
        Benchmark::Batching(flags) => batching::run(&flags),
        Benchmark::Compression(flags) => compression::run(&flags),
        Benchmark::Loadgen(flags) => loadgen::run(&flags),
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
