//! Latency of one caller, relative to the least that it can be: a bare responder's, and ONNX
//! Runtime's own run.

use super::Bench;
use crate::alternation::{Side, alternate_all, ratio};
use crate::bare_responder::BareResponder;
use crate::engine_under_test::{SMALL_MLP, install_mlp};
use crate::limit::BoundSession;
use crate::load::ClosedLoop;
use crate::targets::{Figures, Target};
use anyhow::Result;
use skysail_loadtest::quantiles::median;
use skysail_loadtest::target::Protocol;
use std::io::Write;

/// Greatest p50 relative to the least possible.
const P50_MAX: f64 = 1.25;

pub(super) fn table(out: &mut impl Write, bench: &Bench) -> Result<Figures> {
    let (rounds, duration) = (bench.extent.rounds, bench.extent.duration);
    let folder = tempfile::tempdir()?;
    let file = install_mlp(folder.path(), "small", SMALL_MLP)?.join("1/model.onnx");
    let width = SMALL_MLP[0];
    let servers = bench.start(folder.path(), &[])?;
    let bare = BareResponder::start(bench.cores, width)?;
    let row = [usize::try_from(width)?];
    let mut session = BoundSession::open(&bench.environment, &file, &row, 1, 1)?;
    let closed =
        ClosedLoop { models: &["small"], protocol: Protocol::Binary, connections: 1, duration };
    servers.iter().try_for_each(|server| closed.warm_up(server))?;
    let mut sides: Vec<Side<'_, f64>> = Vec::new();
    for server in &servers {
        sides.push(Box::new(|| Ok(closed.run(&server.http)?.p50_us)));
    }
    sides.push(Box::new(|| Ok(closed.run(&bare.address)?.p50_us)));
    sides.push(Box::new(|| session.run_us(duration)));
    let measured = alternate_all(rounds, &mut sides, |side| side())?;
    let (builds, limits) = measured.split_at(servers.len());
    let least: Vec<f64> = limits[0].iter().zip(&limits[1]).map(|(bare, run)| bare + run).collect();
    let (bare_us, run_us) = (median(&limits[0]), median(&limits[1]));
    writeln!(
        out,
        "| build | p50 us | bare responder's p50 us | ONNX Runtime's run us | of both |\n\
         |---|---:|---:|---:|---:|"
    )?;
    let mut figures = Figures::new();
    for (build, p50_us) in bench.builds.iter().zip(builds) {
        let ratio = ratio(p50_us, &least);
        let (name, p50_us) = (build.name, median(p50_us));
        writeln!(out, "| {name} | {p50_us:.0} | {bare_us:.0} | {run_us:.1} | {ratio:.2} |")?;
        if build.is_new() {
            let what = "p50 relative to the bare responder's and a run".to_owned();
            figures.push((what, ratio, Target::AtMost(P50_MAX)));
        }
    }
    Ok(figures)
}
