//! `skysail-pack`: compresses models into packages, and shows and checks packages.

mod args;
mod options;
mod recipe;
mod pack;
mod unpack;
mod standard_operators;
mod inspect;
mod verify;
mod diff;
mod keygen;
mod keys;
mod data;
mod session;
mod compare;
mod synthetic;
mod check;
mod table;
mod plot;
mod progress;
mod interrupt;

use args::{BadConfiguration, BadUsage};
use clap::{Parser, Subcommand};
use skysail_compression::CompressError;
use std::io::{self, Write};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  skysail-pack pack model.onnx                           write a lossless package
  skysail-pack pack model.onnx --prune 30% --bits 5      write a smaller, lossy one
  skysail-pack inspect model.sky                         show the size of each tensor
  skysail-pack verify model.sky                          check every byte
  skysail-pack unpack model.sky                          restore the ONNX file

`skysail-pack COMMAND --help` describes a command.
Exit status: 0 done, 1 failed, 2 bad usage, 64 bad recipe.";

/// Compress ONNX models into packages (.sky files), and show, check and unpack those
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
    match interrupt::run(move || execute(command)) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of the output has closed it, as `head` does.
        Err(error) if is_unread(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing can be reported if this write fails too.
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

/// Returns true if the reader of the output has closed it.
fn is_unread(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Formats an error and its causes, without causes whose text is repeated.
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

/// Returns the exit status: 2 or 64 if the user caused the error, else 1.
fn status(error: &anyhow::Error) -> u8 {
    use CompressError::{BadSetting, NoSuchLayer};
    if error.is::<BadConfiguration>() {
        return 64;
    }
    let by_flag = matches!(error.downcast_ref(), Some(BadSetting { .. } | NoSuchLayer { .. }));
    if by_flag || error.is::<BadUsage>() { 2 } else { 1 }
}
