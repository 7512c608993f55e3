//! Output of results, as text or JSON.

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;
use std::io::{self, Write};

/// Format of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// A line for people.
    Text,
    /// A line of JSON for programs.
    Json,
}

/// Prints a result.
///
/// # Errors
/// Fails when the output cannot be written.
pub(super) fn print(output: Output, result: &impl Serialize, text: &str) -> Result<()> {
    let line = match output {
        Output::Text => text.to_owned(),
        Output::Json => serde_json::to_string(result)?,
    };
    writeln!(io::stdout(), "{line}")?;
    Ok(())
}
