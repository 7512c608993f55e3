//! Small convolutional network, one and 64 connections, beside ONNX Runtime and the old build.

use super::Bench;
use crate::alternation::{Side, alternate_all, ratio};
use crate::engine_under_test::install_model;
use crate::limit::BoundSession;
use crate::load::ClosedLoop;
use crate::targets::{Figures, Target};
use anyhow::Result;
use skysail_loadtest::quantiles::median;
use skysail_loadtest::target::Protocol;
use std::io::Write;

/// Shape of a row: one image.
const IMAGE: [usize; 3] = [1, 28, 28];

/// Connections, with the least throughput relative to the old build. Triton served one connection
/// 938 requests a second where the old build served 738.
const LOADS: [(usize, f64); 2] = [(1, 938.0 / 738.0), (64, 1.0)];

pub(super) fn table(out: &mut impl Write, bench: &Bench) -> Result<Figures> {
    let duration = bench.extent.duration;
    let folder = tempfile::tempdir()?;
    let model = skysail_graph::fed_avg_cnn(1)?;
    let file = install_model(folder.path(), "cnn", &model)?.join("1/model.onnx");
    let servers = bench.start(folder.path(), &[])?;
    let mut session = BoundSession::open(&bench.environment, &file, &IMAGE, bench.cores, 1)?;
    writeln!(
        out,
        "ONNX Runtime runs one image at a time on {} threads.\n\n\
         | connections | build | replicas, threads of each | req/s | ONNX Runtime's | relative to \
         it |\n|---:|---|---|---:|---:|---:|",
        bench.cores
    )?;
    let mut figures = Figures::new();
    for (connections, least) in LOADS {
        let closed =
            ClosedLoop { models: &["cnn"], protocol: Protocol::Binary, connections, duration };
        servers.iter().try_for_each(|server| closed.warm_up(server))?;
        let mut sides: Vec<Side<'_, f64>> = Vec::new();
        for server in &servers {
            sides.push(Box::new(|| Ok(closed.run(&server.http)?.requests_per_s)));
        }
        sides.push(Box::new(|| session.rows_per_s(duration)));
        let measured = alternate_all(bench.extent.rounds, &mut sides, |side| side())?;
        let (builds, limit) = measured.split_at(servers.len());
        let limit = &limit[0];
        for ((build, server), rates) in bench.builds.iter().zip(&servers).zip(builds) {
            let (count, threads) = server.replicas("cnn")?;
            writeln!(
                out,
                "| {connections} | {} | {count}, {threads} | {:.0} | {:.0} | {:.2} |",
                build.name,
                median(rates),
                median(limit),
                ratio(rates, limit)
            )?;
        }
        if let [old, new] = builds {
            let what = format!("CNN, {connections} connections: req/s, new/old");
            figures.push((what, ratio(new, old), Target::AtLeast(least)));
        }
    }
    Ok(figures)
}
