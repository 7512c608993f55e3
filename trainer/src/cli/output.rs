//! Results, for people and for programs.

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;
use std::io::{self, Write};

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Prints a result.
///
/// # Errors
/// When it can not be printed.
pub(super) fn print(output: Output, result: &impl Serialize, text: &str) -> Result<()> {
    let line = match output {
        Output::Text => text.to_owned(),
        Output::Json => serde_json::to_string(result)?,
    };
    writeln!(io::stdout(), "{line}")?;
    Ok(())
}
