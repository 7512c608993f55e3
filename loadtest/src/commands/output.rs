//! Output formats of a command's result.

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;
use std::fmt::Display;
use std::io::{self, Write};

/// Output format.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Output {
    Text,
    Json,
}

impl Output {
    /// Prints a result on standard output.
    ///
    /// # Errors
    /// Fails if standard output is closed.
    pub(crate) fn print(self, result: &(impl Display + Serialize)) -> Result<()> {
        let mut out = io::stdout().lock();
        match self {
            Self::Text => write!(out, "{result}")?,
            Self::Json => {
                serde_json::to_writer(&mut out, result)?;
                writeln!(out)?;
            }
        }
        Ok(out.flush()?)
    }
}
