//! `cargo xtask`: set-up, tests, benchmarks and checks, one command each.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "says what it does to the person who started it"
)]

mod setup;
mod serve;
mod test;
mod bench;
mod tidy;
mod python;
mod workspace;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  cargo xtask serve                            serve models/ on 8000, 8001 and 8002
  cargo xtask serve -- --http 127.0.0.1:9000   the same, with flags for the server
  cargo xtask test                             every test
  cargo xtask test -- digits                   the tests with `digits` in their name
  cargo xtask test --onnx-backend              the server against ONNX Runtime, case by case
  cargo xtask bench batching                   the batching policies against each other
  cargo xtask bench batching --help            what a benchmark takes
  cargo xtask tidy                             the style checks

Exit status: 0 done, 1 failed, 2 bad usage; `serve` ends with the server's own.";

#[derive(Parser)]
#[command(bin_name = "cargo xtask", about, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Bring ONNX Runtime into target/ (once; needs Python 3 with pip)
    Setup {
        /// Also bring the Python clients that the tests use
        #[arg(long)]
        clients: bool,
    },
    /// Set up, build the server and serve models/
    Serve {
        /// Flags for the server, after `--`
        #[arg(last = true)]
        flags: Vec<String>,
    },
    /// Set up and run every test, or the ONNX project's cases
    Test(test::Flags),
    /// Set up and run a benchmark
    Bench {
        /// The benchmark's name
        name: String,
        /// Arguments for the benchmark
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Check the style of the whole tree, and dependencies where cargo-deny is installed
    Tidy,
    /// Say when the server is ready (started by `serve`)
    #[command(hide = true)]
    Announce {
        /// Where the server answers HTTP
        address: String,
        /// The server's process
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
        Command::Serve { flags } => serve::serve(&flags),
        Command::Test(flags) => test::test(&flags),
        Command::Bench { name, args } => bench::bench(&name, &args),
        Command::Tidy => tidy::tidy(),
        Command::Announce { address, server_pid } => {
            serve::announce(&address, server_pid);
            Ok(())
        }
    }
}
