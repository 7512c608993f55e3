//! Wide MLP, one to 64 connections, relative to ONNX Runtime in process.

use super::Bench;
use crate::alternation::{Side, alternate_all, ratio};
use crate::engine_under_test::install_mlp;
use crate::limit::BoundSession;
use crate::load::ClosedLoop;
use crate::process::Server;
use crate::targets::{Figures, Target};
use anyhow::{Context, Result};
use skysail_loadtest::quantiles::median;
use skysail_loadtest::target::Protocol;
use std::io::Write;
use std::path::Path;

/// Least throughput of one caller, relative to runs of one row with the server's own threads.
const ALONE_MIN: f64 = 1.0;
/// Least throughput of several callers, relative to the best batch that they can fill.
const BATCHED_MIN: f64 = 0.85;
/// Numbers of connections.
const CONNECTIONS: [usize; 3] = [1, 16, 64];
/// Batches that are tried.
const BATCHES: [usize; 4] = [8, 16, 32, 64];

pub(super) fn table(out: &mut impl Write, bench: &Bench) -> Result<Figures> {
    let duration = bench.extent.duration;
    let folder = tempfile::tempdir()?;
    let file = install_mlp(folder.path(), "wide", bench.extent.wide)?.join("1/model.onnx");
    let servers = bench.start(folder.path(), &[])?;
    writeln!(
        out,
        "| connections | build | replicas, threads of each | req/s | ONNX Runtime: threads | rows | \
         rows/s | relative to it |\n|---:|---|---|---:|---:|---:|---:|---:|"
    )?;
    let mut figures = Figures::new();
    for connections in CONNECTIONS {
        let closed =
            ClosedLoop { models: &["wide"], protocol: Protocol::Binary, connections, duration };
        servers.iter().try_for_each(|server| closed.warm_up(server))?;
        let new = servers.last().context("there is no server")?;
        let mut limit = limit(bench, &file, new, connections)?;
        let (threads, rows) = (limit.threads, limit.rows);
        let mut sides: Vec<Side<'_, f64>> = Vec::new();
        for server in &servers {
            sides.push(Box::new(|| Ok(closed.run(&server.http)?.requests_per_s)));
        }
        sides.push(Box::new(|| limit.rows_per_s(duration)));
        let measured = alternate_all(bench.extent.rounds, &mut sides, |side| side())?;
        let (builds, limit) = measured.split_at(servers.len());
        for ((build, server), rates) in bench.builds.iter().zip(&servers).zip(builds) {
            let (count, each) = server.replicas("wide")?;
            let (ratio, rate, limit) = (ratio(rates, &limit[0]), median(rates), median(&limit[0]));
            writeln!(
                out,
                "| {connections} | {} | {count}, {each} | {rate:.0} | {threads} | {rows} | \
                 {limit:.0} | {ratio:.2} |",
                build.name
            )?;
            if build.is_new() {
                let least = if connections == 1 { ALONE_MIN } else { BATCHED_MIN };
                let what =
                    format!("wide MLP, {connections} connections: req/s, relative to ONNX Runtime");
                figures.push((what, ratio, Target::AtLeast(least)));
            }
        }
    }
    Ok(figures)
}

/// Session of the batch that ONNX Runtime runs best, of those that so many callers can fill. A lone
/// caller's has the server's own threads.
fn limit(bench: &Bench, file: &Path, server: &Server, connections: usize) -> Result<BoundSession> {
    let row = [usize::try_from(bench.extent.wide[0])?];
    let open = |threads, rows| BoundSession::open(&bench.environment, file, &row, threads, rows);
    if connections == 1 {
        return open(server.replicas("wide")?.1, 1);
    }
    let mut best: Option<(f64, BoundSession)> = None;
    for threads in [1, bench.cores] {
        for rows in BATCHES.into_iter().filter(|rows| *rows <= connections) {
            let mut session = open(threads, rows)?;
            let rate = session.rows_per_s(bench.extent.duration / 4)?;
            if best.as_ref().is_none_or(|(most, _)| rate > *most) {
                best = Some((rate, session));
            }
        }
    }
    Ok(best.context("no batch is small enough")?.1)
}
