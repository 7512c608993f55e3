//! Tables of the request path, with their targets.

use super::{Limit, Results, Row};
use crate::load::LoadResult;
use crate::targets::{Figures, Target};
use anyhow::{Context, Result};
use std::io::Write;

/// Target of 85 us over the 55 us of a bare responder, on the machine where it was set.
const P50_OVER_BARE_MAX: f64 = 1.55;

/// Prints everything as Markdown.
pub(super) fn print(out: &mut impl Write, results: &Results) -> Result<Figures> {
    print_limits(out, results)?;
    print_rows(out, results)?;
    if !results.bare.is_empty() {
        print_bare(out, results)?;
    }
    figures(results)
}

fn print_limits(out: &mut impl Write, results: &Results) -> Result<()> {
    writeln!(out, "### ONNX Runtime in process (the limit)\n")?;
    writeln!(out, "| model | threads | rows | run us | rows/s |\n|---|---:|---:|---:|---:|")?;
    for (model, limit) in &results.limits {
        let Limit { rows, threads, run_us } = limit;
        let rate = limit.rows_per_s();
        writeln!(out, "| {model} | {threads} | {rows} | {run_us:.1} | {rate:.0} |")?;
    }
    Ok(())
}

fn print_rows(out: &mut impl Write, results: &Results) -> Result<()> {
    writeln!(out, "\n### The server, closed loop, one row a request\n")?;
    writeln!(
        out,
        "| model | protocol | connections | generator | req/s | of limit | p50 us | p99 us | CPU us/req |\n\
         |---|---|---:|---|---:|---:|---:|---:|---:|"
    )?;
    for row in &results.rows {
        let LoadResult { requests_per_s: rate, p50_us, p99_us, .. } = row.served.load;
        writeln!(
            out,
            "| {} | {} | {} | {} | {rate:.0} | {:.2} | {p50_us:.0} | {p99_us:.0} | {:.1} |",
            row.model,
            row.protocol.name(),
            row.connections,
            row.generator.name(),
            rate / best_limit(results, row),
            row.cpu_us()
        )?;
    }
    Ok(())
}

/// Rows a second of ONNX Runtime at the largest batch that the connections can fill.
fn best_limit(results: &Results, row: &Row) -> f64 {
    let fits =
        |(model, limit): &&(&str, Limit)| *model == row.model && limit.rows <= row.connections;
    let fitting = results.limits.iter().filter(fits);
    fitting.map(|(_, limit)| limit.rows_per_s()).fold(0.0, f64::max)
}

fn print_bare(out: &mut impl Write, results: &Results) -> Result<()> {
    writeln!(out, "\n### A bare HTTP responder to the bodies of the small model\n")?;
    writeln!(out, "| connections | req/s | p50 us | p99 us |\n|---:|---:|---:|---:|")?;
    for (connections, LoadResult { requests_per_s, p50_us, p99_us, .. }) in &results.bare {
        writeln!(out, "| {connections} | {requests_per_s:.0} | {p50_us:.0} | {p99_us:.0} |")?;
    }
    Ok(())
}

fn figures(results: &Results) -> Result<Figures> {
    let find = |model: &str, protocol: &str, connections: usize| {
        let is = |row: &&Row| {
            (row.model, row.protocol.name(), row.connections) == (model, protocol, connections)
        };
        results.rows.iter().find(is).context("a row is missing")
    };
    let binary = find("small", "binary", 64)?;
    let p50_us = find("small", "binary", 1)?.served.load.p50_us;
    let cpu_us = |protocol| Ok::<_, anyhow::Error>(find("small", protocol, 64)?.cpu_us());
    let wide = find("wide", "binary", 64)?.served.load.requests_per_s;
    let mut figures = vec![
        ("small, binary, 64: req/s", binary.served.load.requests_per_s, Target::AtLeast(70_000.0)),
        ("small, binary, 64: CPU us/req", binary.cpu_us(), Target::AtMost(15.0)),
        ("small, JSON, 64: CPU us/req", cpu_us("json")?, Target::AtMost(40.0)),
        ("small, gRPC, 64: CPU us/req", cpu_us("grpc")?, Target::AtMost(30.0)),
        ("wide, binary, 64: req/s", wide, Target::AtLeast(5_500.0)),
        ("idle, one small model: resident MB", results.resident_mb, Target::AtMost(60.0)),
        ("start to first answer: ms", results.start_ms, Target::AtMost(150.0)),
        ("small, binary, 1: p50 us", p50_us, Target::AtMost(85.0)),
    ];
    if let Some((_, alone)) = results.bare.first() {
        let what = "the same over the bare responder's";
        figures.push((what, p50_us / alone.p50_us, Target::AtMost(P50_OVER_BARE_MAX)));
    }
    Ok(figures.into_iter().map(|(what, value, target)| (what.to_owned(), value, target)).collect())
}
