//! `cargo xtask`: set-up, tests, benchmarks and checks, one command each.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "says what it does to the person who started it"
)]

mod setup;
mod serve;
mod test;
mod test_report;
mod bench;
mod tidy;
mod python;
mod workspace;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  cargo xtask serve                            serve models/ on ports 8000, 8001 and 8002
  cargo xtask serve -- --http 127.0.0.1:9000   the same, with flags for the server
  cargo xtask serve --release                  the same, from the release build
  cargo xtask test                             every test
  cargo xtask test -- digits                   tests with `digits` in their name
  cargo xtask test --onnx-backend              compare the server with ONNX Runtime
  cargo xtask bench batching                   compare the batching policies
  cargo xtask bench batching --help            flags of a benchmark
  cargo xtask tidy                             check the style

Exit status: 0 done, 1 failed, 2 bad usage; `serve` ends with the server's own.";

#[derive(Parser)]
#[command(bin_name = "cargo xtask", about, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Download ONNX Runtime into target/ (once; needs Python 3 with pip)
    Setup {
        /// Also download the Python clients that the tests use
        #[arg(long)]
        clients: bool,
    },
    /// Download ONNX Runtime, build the server and serve models/
    Serve {
        /// Use the release build: it serves faster, and takes several times as long to build
        #[arg(long)]
        release: bool,
        /// Flags for the server, after `--`
        #[arg(last = true)]
        flags: Vec<String>,
    },
    /// Run every test, or compare the server with ONNX Runtime
    Test(test::Flags),
    /// Run a benchmark on the release build
    Bench {
        /// serve, batching, compression, training, tracing, loadgen or planning
        name: String,
        /// Arguments for the benchmark
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Check the style of the whole tree, and its dependencies if cargo-deny is installed
    Tidy,
    /// Print a request to try when the server is ready (started by `serve`)
    #[command(hide = true)]
    Announce {
        /// HTTP address of the server
        address: String,
        /// Process id of the server
        server_pid: u32,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Setup { clients } => {
            setup::onnx_runtime()?;
            if clients {
                setup::clients()?;
            }
            Ok(())
        }
        Command::Serve { release, flags } => serve::serve(release, &flags),
        Command::Test(flags) => test::test(&flags),
        Command::Bench { name, args } => bench::bench(&name, &args),
        Command::Tidy => tidy::tidy(),
        Command::Announce { address, server_pid } => {
            serve::announce(&address, server_pid);
            Ok(())
        }
    }
}
