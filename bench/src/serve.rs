//! `skysail-bench serve`: the server beside its limits, which are ONNX Runtime in process, a bare
//! HTTP responder and memcpy, and beside an older build.

mod extent;
mod requests;
mod paths;
mod caller;
mod connections;
mod models;
mod cnn;
mod wide;
mod bodies;
mod loading;
mod footprint;

use crate::build::Build;
use crate::process::Server;
use crate::progress::progress;
use crate::targets::{self, Figures};
use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use extent::Extent;
use ort::environment::Environment;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  cargo xtask bench serve
  cargo xtask bench serve --old ../before/skysail-server
  cargo xtask bench serve --tables connections,models --rounds 1
  cargo xtask bench serve --quick";

/// Measure the server
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Flags {
    /// Tables to print, separated by commas [default: all]
    #[arg(long, value_enum, value_name = "NAMES", value_delimiter = ',')]
    tables: Vec<Table>,
    /// Executable of the build to compare with; without it, there are no ratios to it
    #[arg(long, value_name = "FILE")]
    old: Option<PathBuf>,
    /// Executable of the build under test
    #[arg(
        long,
        visible_alias = "server",
        value_name = "FILE",
        default_value = "target/release/skysail-server"
    )]
    new: PathBuf,
    /// Rounds of each measurement; each measures every side once, in turn
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// Seconds of one measurement
    #[arg(long, value_name = "S", default_value_t = 3)]
    seconds: u64,
    /// Run a short check with few and small measurements; its figures are not meaningful
    #[arg(long)]
    quick: bool,
}

/// Table of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Table {
    /// Two MLPs over every protocol, one to 64 connections; start and idle memory
    Requests,
    /// Small MLP, 64 connections, over every protocol, relative to the old build
    Paths,
    /// Latency of one caller, relative to a bare responder and ONNX Runtime's own run
    Caller,
    /// Tail and fairness with thousands of connections; memory of a connection at rest
    Connections,
    /// Requests spread over many models; memory and threads of idle models
    Models,
    /// Small CNN, one and 64 connections
    Cnn,
    /// Wide MLP, one to 64 connections, relative to ONNX Runtime
    Wide,
    /// Bodies of 1 kB to 10 MB, relative to memcpy
    Bodies,
    /// Time to load a large model, and the memory that loading and unloading leave
    Load,
    /// Memory of one-operator models, and of many replicas
    Footprint,
}

impl Table {
    fn title(self) -> &'static str {
        match self {
            Self::Requests => "The request path, one row a request",
            Self::Paths => "Paths: small MLP, 64 connections",
            Self::Caller => "One caller",
            Self::Connections => "Many connections",
            Self::Models => "Many models",
            Self::Cnn => "Small CNN",
            Self::Wide => "Wide MLP",
            Self::Bodies => "Bodies of an identity model",
            Self::Load => "Load and unload of a large model",
            Self::Footprint => "Idle memory",
        }
    }

    fn print(self, out: &mut impl Write, bench: &Bench) -> Result<Figures> {
        match self {
            Self::Requests => requests::table(out, bench),
            Self::Paths => paths::table(out, bench),
            Self::Caller => caller::table(out, bench),
            Self::Connections => connections::table(out, bench),
            Self::Models => models::table(out, bench),
            Self::Cnn => cnn::table(out, bench),
            Self::Wide => wide::table(out, bench),
            Self::Bodies => bodies::table(out, bench),
            Self::Load => loading::table(out, bench),
            Self::Footprint => footprint::table(out, bench),
        }
    }
}

/// Runs the benchmark and prints its tables.
pub(crate) fn run(flags: &Flags) -> Result<()> {
    ensure!(flags.rounds > 0 && flags.seconds > 0, "--rounds and --seconds are above 0");
    let cores = std::thread::available_parallelism()?.get();
    let bench = Bench {
        builds: Build::all(flags.old.as_deref(), &flags.new)?,
        extent: Extent::new(flags),
        cores,
        environment: skysail_engine::runtime::load(cores)?,
    };
    let tables: &[Table] =
        if flags.tables.is_empty() { Table::value_variants() } else { &flags.tables };
    let mut out = io::stdout().lock();
    for table in tables {
        progress(format_args!("{}", table.title()));
        writeln!(out, "\n## {}\n", table.title())?;
        let figures = table.print(&mut out, &bench).with_context(|| table.title())?;
        if !figures.is_empty() {
            writeln!(out)?;
            targets::print(&mut out, &figures)?;
        }
        out.flush()?;
    }
    Ok(())
}

/// Everything that the tables share.
struct Bench {
    /// The old build, if any, and then the new one.
    builds: Vec<Build>,
    extent: Extent,
    cores: usize,
    environment: Environment,
}

impl Bench {
    /// The build under test.
    fn new_build(&self) -> Result<&Build> {
        self.builds.last().context("there is no build")
    }

    /// Starts every build with these models and flags, and waits until all models serve.
    fn start(&self, models: &Path, flags: &[&str]) -> Result<Vec<Server>> {
        let start = |build: &Build| {
            let server = build.start(models, flags)?;
            server.wait_ready()?;
            Ok(server)
        };
        self.builds.iter().map(start).collect()
    }
}
