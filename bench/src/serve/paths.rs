//! Small MLP at 64 connections over every protocol, relative to the old build.

use super::Bench;
use crate::comparison::{self, Bounds};
use crate::engine_under_test::{SMALL_MLP, install_mlp};
use crate::load::ClosedLoop;
use crate::targets::Figures;
use anyhow::Result;
use skysail_loadtest::target::Protocol;
use std::io::Write;

/// Protocols, with the greatest CPU time of a request relative to the old build.
const PATHS: [(Protocol, f64); 3] =
    [(Protocol::Binary, 0.6), (Protocol::Json, 0.7), (Protocol::Grpc, 0.6)];

/// Least throughput relative to the old build.
const THROUGHPUT_MIN: f64 = 1.5;

pub(super) fn table(out: &mut impl Write, bench: &Bench) -> Result<Figures> {
    if bench.builds.len() < 2 {
        writeln!(out, "Left out: `--old` names no build to compare with.")?;
        return Ok(Vec::new());
    }
    let folder = tempfile::tempdir()?;
    install_mlp(folder.path(), "small", SMALL_MLP)?;
    let servers = bench.start(folder.path(), &[])?;
    comparison::head(out)?;
    let mut figures = Vec::new();
    for (protocol, cpu_max) in PATHS {
        let closed = ClosedLoop {
            models: &["small"],
            protocol,
            connections: 64,
            duration: bench.extent.duration,
        };
        let bounds = Bounds { throughput_min: THROUGHPUT_MIN, cpu_max };
        let sides = [&servers[0], &servers[1]];
        figures.extend(comparison::row(out, sides, &closed, bench.extent.rounds, bounds)?);
    }
    Ok(figures)
}
