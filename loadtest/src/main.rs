//! `skysail-load`: load tests for any server of the Open Inference Protocol.

mod commands;

use clap::{Parser, Subcommand};
use std::io::{self, Write};
use std::process::ExitCode;

/// Load tests for any server of the Open Inference Protocol (KServe v2): Skysail, Triton, and
/// others
#[derive(Debug, Parser)]
#[command(name = "skysail-load", version, arg_required_else_help = true)]
struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(Box<commands::run::Flags>),
    Compare(commands::compare::Flags),
    Capacity(Box<commands::capacity::Flags>),
    Plan(commands::plan::Flags),
    Tail(commands::tail::Flags),
}

/// Exit code of bad usage, the same as clap's.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let done = match Flags::parse().command {
        Command::Run(flags) => commands::run::execute(&flags),
        Command::Compare(flags) => commands::compare::execute(&flags),
        Command::Capacity(flags) => commands::capacity::execute(&flags),
        Command::Plan(flags) => commands::plan::execute(&flags),
        Command::Tail(flags) => commands::tail::execute(&flags),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Errors are ignored: there is nobody to report them to.
            let _ = writeln!(io::stderr(), "skysail-load: {error:#}");
            if error.is::<commands::Usage>() { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
        }
    }
}
