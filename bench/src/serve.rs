//! `skysail-bench serve`: the request path on a small and a wide MLP, over every protocol, beside
//! ONNX Runtime in process and the targets.

use crate::bare_responder::BareResponder;
use crate::engine_under_test::{SMALL_MLP, WIDE_MLP, install_mlp};
use crate::limit::{self, Limit};
use crate::load::{ClosedLoop, Generator, LoadResult};
use crate::process::Server;
use anyhow::{Context, Result, ensure};
use clap::Args;
use skysail_loadtest::quantiles::median;
use skysail_loadtest::target::Protocol;
use std::path::{Path, PathBuf};

mod table;

/// Measure the request path
#[derive(Args)]
pub(crate) struct Flags {
    /// Seconds of each measurement
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Executable of the server
    #[arg(long, default_value = "target/release/skysail-server")]
    server: PathBuf,
}

/// Model of the benchmark.
struct Model {
    name: &'static str,
    /// Widths of the layers, the input's first.
    sizes: &'static [u64],
}

const MODELS: [Model; 2] =
    [Model { name: "small", sizes: SMALL_MLP }, Model { name: "wide", sizes: WIDE_MLP }];

/// All measurements.
struct Results {
    limits: Vec<(&'static str, Limit)>,
    rows: Vec<Row>,
    /// Results by connections; empty without `wrk`.
    bare: Vec<(usize, LoadResult)>,
    start_ms: f64,
    resident_mb: f64,
}

/// Row of the table of requests.
struct Row {
    model: &'static str,
    protocol: Protocol,
    connections: usize,
    generator: Generator,
    seen: LoadResult,
    cpu_us: f64,
}

/// Runs the benchmark and prints its tables.
pub(crate) fn run(flags: &Flags) -> Result<()> {
    ensure!(flags.server.is_file(), "{} is not built", flags.server.display());
    let folder = tempfile::tempdir()?;
    for model in &MODELS {
        install_mlp(folder.path(), model.name, model.sizes)?;
    }
    let limits = limits(folder.path())?;
    let mut rows = Vec::new();
    let server = Server::start(&flags.server, folder.path())?;
    for model in &MODELS {
        server.first_answer(model.name)?;
        for protocol in [Protocol::Binary, Protocol::Json, Protocol::Grpc] {
            for connections in [1, 16, 64] {
                let row = measure(&server, model, protocol, connections, flags, folder.path());
                rows.push(row.with_context(|| format!("{} {}", model.name, protocol.name()))?);
            }
        }
    }
    drop(server);
    let bare = bare(flags, folder.path())?;
    let (start_ms, resident_mb) = idle(&flags.server)?;
    table::print(&Results { limits, rows, bare, start_ms, resident_mb })
}

/// Measures a bare responder under the loads of the small model: 1, 16 and 64 connections.
fn bare(flags: &Flags, folder: &Path) -> Result<Vec<(usize, LoadResult)>> {
    let generator = Generator::of(Protocol::Binary);
    if generator != Generator::Wrk {
        return Ok(Vec::new());
    }
    let bare =
        BareResponder::start(std::thread::available_parallelism()?.get(), MODELS[0].sizes[0])?;
    let measure = |connections| {
        let closed = ClosedLoop {
            address: &bare.address,
            model: MODELS[0].name,
            protocol: Protocol::Binary,
            connections,
            seconds: flags.seconds,
        };
        Ok((connections, closed.run(generator, folder)?))
    };
    [1, 16, 64].into_iter().map(measure).collect()
}

fn limits(folder: &Path) -> Result<Vec<(&'static str, Limit)>> {
    let cores = std::thread::available_parallelism()?.get();
    let environment = skysail_engine::runtime::load(cores)?;
    let mut limits = Vec::new();
    for model in &MODELS {
        let path = folder.join(model.name).join("1/model.onnx");
        let width = usize::try_from(model.sizes[0])?;
        for threads in [1, cores] {
            for rows in [1, 16, 32, 64, 128] {
                let limit = limit::measure(&environment, &path, width, threads, rows)?;
                limits.push((model.name, limit));
            }
        }
    }
    Ok(limits)
}

fn measure(
    server: &Server,
    model: &Model,
    protocol: Protocol,
    connections: usize,
    flags: &Flags,
    folder: &Path,
) -> Result<Row> {
    let address = server.address(protocol);
    let closed =
        |seconds| ClosedLoop { address, model: model.name, protocol, connections, seconds };
    let generator = Generator::of(protocol);
    closed(1).run(generator, folder)?;
    let before = server.cpu_s()?;
    let seen = closed(flags.seconds).run(generator, folder)?;
    let cpu_us = (server.cpu_s()? - before) / seen.answered.max(1.0) * 1e6;
    Ok(Row { model: model.name, protocol, connections, generator, seen, cpu_us })
}

/// Start to first response in milliseconds, and memory of a server with one small model in MB.
fn idle(executable: &Path) -> Result<(f64, f64)> {
    let folder = tempfile::tempdir()?;
    install_mlp(folder.path(), "small", SMALL_MLP)?;
    let mut starts = Vec::new();
    let mut resident_mb = 0.0;
    for _ in 0..5 {
        let server = Server::start(executable, folder.path())?;
        server.first_answer(MODELS[0].name)?;
        starts.push(server.started.elapsed().as_secs_f64() * 1e3);
        resident_mb = server.resident_mb()?;
    }
    Ok((median(&starts), resident_mb))
}
