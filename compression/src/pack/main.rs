//! `skysail-pack`: compresses models into packages, and tells what is in those.

mod args;
mod options;
mod recipe;
mod pack;
mod unpack;
mod inspect;
mod verify;
mod diff;
mod keygen;
mod keys;
mod data;
mod session;
mod compare;
mod sample;
mod check;
mod table;
mod plot;
mod progress;
mod stop;

use args::{BadConfiguration, BadUsage};
use clap::{Parser, Subcommand};
use skysail_compression::CompressError;
use std::io::{self, Write};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  skysail-pack pack model.onnx                           a package, nothing lost
  skysail-pack pack model.onnx --prune 30% --bits 5      smaller, and not quite the same
  skysail-pack inspect model.sky                         what takes how much
  skysail-pack unpack model.sky                          back to ONNX

Exit status: 0 done, 1 failed, 2 bad usage, 64 bad configuration.";

/// Compresses ONNX models into packages (.sky files), and tells what is in those.
#[derive(Debug, Parser)]
#[command(name = "skysail-pack", version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Pack(Box<pack::Flags>),
    Unpack(unpack::Flags),
    Inspect(inspect::Flags),
    Verify(verify::Flags),
    Diff(diff::Flags),
    Keygen(keygen::Flags),
}

fn main() -> ExitCode {
    let command = Flags::parse().command;
    match stop::run(move || execute(command)) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has seen enough, as `head` has.
        Err(error) if is_unread(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // There is no one left to tell when this cannot be written either.
            let _ = writeln!(io::stderr(), "skysail-pack: {}", message(&error));
            ExitCode::from(status(&error))
        }
    }
}

fn execute(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Pack(flags) => pack::execute(*flags),
        Command::Unpack(flags) => unpack::execute(&flags),
        Command::Inspect(flags) => inspect::execute(&flags),
        Command::Verify(flags) => verify::execute(&flags),
        Command::Diff(flags) => diff::execute(&flags),
        Command::Keygen(flags) => keygen::execute(&flags),
    }
}

/// Whether the reader of the output is gone.
fn is_unread(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// An error and its causes, but for those that are in the text already.
fn message(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.ends_with(&cause) {
            let separator = if text.is_empty() { "" } else { ": " };
            text = text + separator + &cause;
        }
    }
    text
}

/// The exit status that tells whose fault an error is.
fn status(error: &anyhow::Error) -> u8 {
    use CompressError::{BadSetting, NoSuchLayer};
    if error.is::<BadConfiguration>() {
        return 64;
    }
    let by_flag = matches!(error.downcast_ref(), Some(BadSetting { .. } | NoSuchLayer { .. }));
    if by_flag || error.is::<BadUsage>() { 2 } else { 1 }
}
