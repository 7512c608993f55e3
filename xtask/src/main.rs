//! `cargo xtask`: set-up, tests, benchmarks and checks, one command each.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "says what it does to the person who started it"
)]

mod args;
mod setup;
mod serve;
mod test;
mod test_report;
mod bench;
mod tidy;
mod python;
mod workspace;

use args::Command;
use std::{env, process::ExitCode};

/// Exit code of a command line that can not be parsed.
const BAD_USAGE: u8 = 2;

fn main() -> ExitCode {
    let command = match args::parse(env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("error: {error}; see cargo xtask --help");
            return ExitCode::from(BAD_USAGE);
        }
    };
    match run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Help => {
            print!("{}", args::HELP);
            Ok(())
        }
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
