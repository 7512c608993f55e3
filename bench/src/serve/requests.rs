//! Two MLPs over every protocol, beside ONNX Runtime in process and a bare responder; start time
//! and idle memory.

mod table;

use super::Bench;
use crate::bare_responder::BareResponder;
use crate::build::Build;
use crate::engine_under_test::{SMALL_MLP, install_mlp};
use crate::limit::BoundSession;
use crate::load::{ClosedLoop, Generator, LoadResult, Served, cpu_us};
use crate::process::Server;
use crate::targets::Figures;
use anyhow::{Context, Result};
use skysail_loadtest::quantiles::median;
use skysail_loadtest::target::Protocol;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// Longest measurement of ONNX Runtime.
const LIMIT_DURATION: Duration = Duration::from_millis(800);
/// Numbers of connections.
const CONNECTIONS: [usize; 3] = [1, 16, 64];

/// Model of the table.
struct Model {
    name: &'static str,
    /// Widths of the layers, the input's first.
    sizes: &'static [u64],
}

/// All measurements.
struct Results {
    limits: Vec<(&'static str, Limit)>,
    rows: Vec<Row>,
    /// Results by connections; empty without `wrk`.
    bare: Vec<(usize, LoadResult)>,
    start_ms: f64,
    resident_mb: f64,
}

/// Run time of ONNX Runtime for one batch size.
struct Limit {
    rows: usize,
    threads: usize,
    run_us: f64,
}

impl Limit {
    /// Rows a second.
    fn rows_per_s(&self) -> f64 {
        self.rows as f64 / self.run_us * 1e6
    }
}

/// Row of the table of requests.
struct Row {
    model: &'static str,
    protocol: Protocol,
    connections: usize,
    generator: Generator,
    served: Served,
}

impl Row {
    fn cpu_us(&self) -> f64 {
        cpu_us(&[self.served])
    }
}

pub(super) fn table(out: &mut impl Write, bench: &Bench) -> Result<Figures> {
    let models = [
        Model { name: "small", sizes: SMALL_MLP },
        Model { name: "wide", sizes: bench.extent.wide },
    ];
    let folder = tempfile::tempdir()?;
    for model in &models {
        install_mlp(folder.path(), model.name, model.sizes)?;
    }
    let limits = limits(bench, &models, folder.path())?;
    let mut rows = Vec::new();
    let build = bench.new_build()?;
    let server = build.start(folder.path(), &[])?;
    for model in &models {
        server.first_answer(model.name)?;
        for protocol in [Protocol::Binary, Protocol::Json, Protocol::Grpc] {
            for connections in CONNECTIONS {
                let row = measure(&server, model.name, protocol, connections, bench);
                rows.push(row.with_context(|| format!("{} {}", model.name, protocol.name()))?);
            }
        }
    }
    drop(server);
    let bare = bare(bench)?;
    let (start_ms, resident_mb) = idle(bench, build)?;
    table::print(out, &Results { limits, rows, bare, start_ms, resident_mb })
}

/// Measures a bare responder under the loads of the small model.
fn bare(bench: &Bench) -> Result<Vec<(usize, LoadResult)>> {
    let bare = BareResponder::start(bench.cores, SMALL_MLP[0])?;
    let mut results = Vec::new();
    for connections in CONNECTIONS {
        let closed = closed_loop(&["small"], Protocol::Binary, connections, bench);
        if closed.generator() == Generator::Wrk {
            results.push((connections, closed.run(&bare.address)?));
        }
    }
    Ok(results)
}

fn closed_loop<'a>(
    models: &'a [&'a str],
    protocol: Protocol,
    connections: usize,
    bench: &Bench,
) -> ClosedLoop<'a> {
    ClosedLoop { models, protocol, connections, duration: bench.extent.duration }
}

fn limits(bench: &Bench, models: &[Model], folder: &Path) -> Result<Vec<(&'static str, Limit)>> {
    let duration = bench.extent.duration.min(LIMIT_DURATION);
    let mut limits = Vec::new();
    for model in models {
        let path = folder.join(model.name).join("1/model.onnx");
        let row = [usize::try_from(model.sizes[0])?];
        for threads in [1, bench.cores] {
            for rows in [1, 16, 32, 64, 128] {
                let mut session =
                    BoundSession::open(&bench.environment, &path, &row, threads, rows)?;
                let run_us = session.run_us(duration)?;
                limits.push((model.name, Limit { rows, threads, run_us }));
            }
        }
    }
    Ok(limits)
}

fn measure(
    server: &Server,
    model: &'static str,
    protocol: Protocol,
    connections: usize,
    bench: &Bench,
) -> Result<Row> {
    let models = [model];
    let closed = closed_loop(&models, protocol, connections, bench);
    closed.warm_up(server)?;
    let served = closed.on(server)?;
    Ok(Row { model, protocol, connections, generator: closed.generator(), served })
}

/// Start to first response in milliseconds, and memory of a server with one small model in MB.
fn idle(bench: &Bench, build: &Build) -> Result<(f64, f64)> {
    let folder = tempfile::tempdir()?;
    install_mlp(folder.path(), "small", SMALL_MLP)?;
    let mut starts = Vec::new();
    let mut resident_mb = 0.0;
    for _ in 0..bench.extent.starts {
        let server = build.start(folder.path(), &[])?;
        server.first_answer("small")?;
        starts.push(server.started.elapsed().as_secs_f64() * 1e3);
        resident_mb = server.resident_mb()?;
    }
    Ok((median(&starts), resident_mb))
}
