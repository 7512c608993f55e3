//! `skysail-bench training`: the speed of training. Measures a step beside the same step written by
//! hand, bytes that ranks send, sums beside MPI's own, scaling to two ranks, and the recipes.

mod by_hand;
mod steps;
mod wire;
mod ranks;
mod recipes;

use crate::targets::Figure;
use anyhow::Result;
use clap::{Args, ValueEnum};
use std::io::{self, Write};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  cargo xtask bench training                    all tables, two minutes
  cargo xtask bench training --tables steps     the time of a step
  cargo xtask bench training --recipes          what the recipes reach: hours
  cargo xtask bench training --recipes --only lenet-5,digits";

/// Measure training
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Flags {
    /// Tables to print, separated by commas [default: all]
    #[arg(long, value_enum, value_name = "NAMES", value_delimiter = ',')]
    tables: Vec<Table>,
    /// Run a short check with few measurements; its figures are not meaningful
    #[arg(long)]
    quick: bool,
    /// Train the recipes to their ends instead, which takes hours
    #[arg(long, conflicts_with_all = ["tables", "quick"])]
    recipes: bool,
    /// Names of the recipes to train, separated by commas [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "recipes")]
    only: Vec<String>,
    /// Folder of recipes
    #[arg(long, value_name = "DIR", default_value = "trainer/recipes")]
    folder: PathBuf,
    /// Folder of the trainer's executable and its examples
    #[arg(long, value_name = "DIR", default_value = "target/release")]
    programs: PathBuf,
}

/// Table of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Table {
    /// Time of a step, beside the same step written by hand
    Steps,
    /// Bytes that ranks send, with and without Deep Gradient Compression
    Wire,
    /// Sums over two processes, beside MPI's own
    Sums,
    /// Rows a second of two processes, beside one
    Scaling,
}

/// Runs the benchmark and prints its tables.
pub(crate) fn run(flags: &Flags) -> Result<()> {
    let mut out = io::stdout().lock();
    let mut figures = Vec::new();
    if flags.recipes {
        figures = recipes::table(&mut out, &flags.programs, &flags.folder, &flags.only)?;
    }
    let tables: &[Table] = match &flags.tables[..] {
        _ if flags.recipes => &[],
        [] => Table::value_variants(),
        some => some,
    };
    for table in tables {
        figures.extend(match table {
            Table::Steps => steps::table(&mut out, flags.quick)?,
            Table::Wire => wire::table(&mut out, flags.quick)?,
            Table::Sums => ranks::sums(&mut out, &flags.programs)?,
            Table::Scaling => ranks::scaling(&mut out, &flags.programs, flags.quick)?,
        });
    }
    writeln!(out)?;
    crate::targets::print(&mut out, &figures)?;
    Ok(())
}
