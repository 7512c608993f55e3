//! `skysail-bench compression`: packages. Measures their size, decoding, the kernels for sparse
//! weights beside ONNX Runtime's dense ones, whole models, and loading.

mod packer;
mod timed;
mod operators;
mod inputs;
mod sizes;
mod decoding;
mod products;
mod convolutions;
mod rows;
mod models;
mod loading;

use crate::targets::Figure;
use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use packer::Packer;
use std::env;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  cargo xtask bench compression
  cargo xtask bench compression --tables products,convolutions
  SKYSAIL_LEVEL=avx2 cargo xtask bench compression --tables products   # as on older processors";

/// Measure compression
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Flags {
    /// Tables to print, separated by commas [default: all]
    #[arg(long, value_enum, value_name = "NAMES", value_delimiter = ',')]
    tables: Vec<Table>,
    /// Run a short check with few measurements; its figures are not meaningful
    #[arg(long)]
    quick: bool,
    /// Folder of real models and images
    #[arg(long, value_name = "DIR", default_value = "../shared/data")]
    data: PathBuf,
    /// Executable of the packager
    #[arg(long, value_name = "FILE", default_value = "target/release/skysail-pack")]
    pack: PathBuf,
    /// Executable of the server
    #[arg(long, value_name = "FILE", default_value = "target/release/skysail-server")]
    server: PathBuf,
}

/// Table of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Table {
    /// Sizes of packages of real models
    Sizes,
    /// Decoding of a package's tensors to floats
    Decoding,
    /// Fully connected layers, sparse against dense and int8
    Products,
    /// Convolutions, sparse against dense
    Convolutions,
    /// Dynamic int8 by rows against one range for a tensor
    Rows,
    /// Whole models, package against ONNX file
    Models,
    /// Time until a package is ready
    Loading,
}

/// State that the tables share.
struct Bench {
    packer: Packer,
    server: PathBuf,
    data: PathBuf,
    /// Time limit of one comparison.
    time: Duration,
}

/// Runs the benchmark and prints its tables.
pub(crate) fn run(flags: &Flags) -> Result<()> {
    for program in [&flags.pack, &flags.server] {
        ensure!(program.is_file(), "{} is not built", program.display());
    }
    match flags.tables[..] {
        [table] => print(table, flags),
        [] => each(Table::value_variants(), flags),
        _ => each(&flags.tables, flags),
    }
}

/// Prints each table in its own process. A process has one ONNX Runtime, with the threads of the
/// first table.
fn each(tables: &[Table], flags: &Flags) -> Result<()> {
    for table in tables {
        let name = table.to_possible_value().context("a table without a name")?;
        let mut one = Command::new(env::current_exe()?);
        one.args(["compression", "--tables", name.get_name()]);
        one.arg("--data").arg(&flags.data).arg("--pack").arg(&flags.pack);
        one.arg("--server").arg(&flags.server).args(flags.quick.then_some("--quick"));
        ensure!(one.status()?.success(), "no table of {}", name.get_name());
    }
    Ok(())
}

fn print(table: Table, flags: &Flags) -> Result<()> {
    let bench = Bench {
        packer: Packer::new(&flags.pack)?,
        server: std::path::absolute(&flags.server)?,
        data: std::path::absolute(&flags.data)?,
        time: Duration::from_millis(if flags.quick { 100 } else { 2_000 }),
    };
    let mut out = io::stdout().lock();
    let figures = match table {
        Table::Sizes => sizes::table(&mut out, &bench)?,
        Table::Decoding => decoding::table(&mut out, &bench)?,
        Table::Products => products::table(&mut out, &bench)?,
        Table::Convolutions => convolutions::table(&mut out, &bench)?,
        Table::Rows => rows::table(&mut out, &bench)?,
        Table::Models => models::table(&mut out, &bench)?,
        Table::Loading => loading::table(&mut out, &bench)?,
    };
    writeln!(out)?;
    crate::targets::print(&mut out, &figures)?;
    Ok(())
}

/// Geometric mean.
fn mean(ratios: &[f64]) -> f64 {
    (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp()
}

/// Least of some figures; NaN without any.
fn least(figures: &[f64]) -> f64 {
    figures.iter().copied().fold(f64::NAN, f64::min)
}
