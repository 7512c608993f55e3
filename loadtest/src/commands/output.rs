//! How a command's result is printed: for people, or for programs.

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;
use std::fmt::Display;
use std::io::{self, Write};

/// In which form.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Output {
    Text,
    Json,
}

impl Output {
    /// Prints a result on standard output.
    ///
    /// # Errors
    /// When nobody reads it any more.
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
