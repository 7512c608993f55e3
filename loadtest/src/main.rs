//! `skysail-load`: load tests for any server of the Open Inference Protocol.

mod commands;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Load tests for any server of the Open Inference Protocol (KServe v2).
#[derive(Debug, Parser)]
#[command(name = "skysail-load", version, arg_required_else_help = true)]
struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(commands::run::Flags),
}

fn main() -> ExitCode {
    let done = match Flags::parse().command {
        Command::Run(flags) => commands::run::execute(flags),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // There is no one left to tell when this cannot be written either.
            let _ = writeln!(io::stderr(), "skysail-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}
