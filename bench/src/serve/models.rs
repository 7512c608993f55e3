//! Requests spread over many models of one kind, and what idle models cost.

use super::Bench;
use crate::alternation::alternate;
use crate::engine_under_test::{SMALL_MLP, install, install_mlp, install_tiny};
use crate::load::{ClosedLoop, cpu_us, median_of};
use crate::targets::{Figures, Target};
use anyhow::Result;
use skysail_loadtest::target::Protocol;
use std::io::Write;
use std::path::Path;

/// Greatest CPU times of a request to many models, relative to one model.
const SPREAD_MAX: [f64; 2] = [2.0, 2.5];
/// Most memory of a server of idle tiny models.
const IDLE_MB_MAX: f64 = 150.0;
/// Most threads of such a server: no idle replica has one.
const THREADS_MAX: f64 = 64.0;

pub(super) fn table(out: &mut impl Write, bench: &Bench) -> Result<Figures> {
    let mut figures = spread(out, bench)?;
    figures.extend(idle(out, bench)?);
    Ok(figures)
}

/// Measures requests to one, many and all models of the same servers.
fn spread(out: &mut impl Write, bench: &Bench) -> Result<Figures> {
    let folder = tempfile::tempdir()?;
    let [many, all] = bench.extent.models;
    let names: Vec<String> = (0..all).map(|index| format!("small{index}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let file = install_mlp(folder.path(), names[0], SMALL_MLP)?.join("1/model.onnx");
    link(folder.path(), &names, &file)?;
    let servers = bench.start(folder.path(), &[])?;
    writeln!(
        out,
        "| build | models asked, of {all} | req/s | p50 us | p99 us | CPU us/req | relative to one \
         |\n|---|---:|---:|---:|---:|---:|---:|"
    )?;
    let mut figures = Figures::new();
    for (build, server) in bench.builds.iter().zip(&servers) {
        let closed = |count| ClosedLoop {
            models: &names[..count],
            protocol: Protocol::Binary,
            connections: 64,
            duration: bench.extent.duration,
        };
        closed(all).warm_up(server)?;
        let asked = [1, many, all];
        let measured = alternate(bench.extent.rounds, asked, |count| closed(*count).on(server))?;
        let one_us = cpu_us(&measured[0]);
        for (count, rounds) in asked.into_iter().zip(&measured) {
            let (cpu_us, name) = (cpu_us(rounds), build.name);
            let ratio = cpu_us / one_us;
            let rate = median_of(rounds, |load| load.requests_per_s);
            let p50 = median_of(rounds, |load| load.p50_us);
            let p99 = median_of(rounds, |load| load.p99_us);
            writeln!(
                out,
                "| {name} | {count} | {rate:.0} | {p50:.0} | {p99:.0} | {cpu_us:.1} | {ratio:.2} |"
            )?;
            let limit = [many, all].into_iter().zip(SPREAD_MAX).find(|(of, _)| *of == count);
            if let (Some((_, most)), true) = (limit, build.is_new()) {
                let what = format!("{count} models: CPU a request, relative to one model");
                figures.push((what, ratio, Target::AtMost(most)));
            }
        }
    }
    Ok(figures)
}

/// Measures servers of tiny models that nobody asks.
fn idle(out: &mut impl Write, bench: &Bench) -> Result<Figures> {
    let folder = tempfile::tempdir()?;
    let count = bench.extent.models[1];
    let names: Vec<String> = (0..count).map(|index| format!("tiny{index}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let file = install_tiny(folder.path(), names[0], 1.0)?.join("1/model.onnx");
    link(folder.path(), &names, &file)?;
    writeln!(out, "\n| build | idle tiny models | resident MB | threads |\n|---|---:|---:|---:|")?;
    let mut figures = Figures::new();
    for build in &bench.builds {
        let server = build.start(folder.path(), &[])?;
        server.wait_ready()?;
        let (resident_mb, threads) =
            (server.resident_mb_after(bench.extent.rest)?, server.threads()?);
        writeln!(out, "| {} | {count} | {resident_mb:.0} | {threads:.0} |", build.name)?;
        let what = |what: &str| format!("{count} idle tiny models: {what}");
        if build.is_new() {
            figures.push((what("resident MB"), resident_mb, Target::AtMost(IDLE_MB_MAX)));
            figures.push((what("threads"), threads, Target::AtMost(THREADS_MAX)));
        }
    }
    Ok(figures)
}

/// Installs the same file under all names but the first, which has it.
fn link(models: &Path, names: &[&str], file: &Path) -> Result<()> {
    names.iter().skip(1).try_for_each(|name| install(models, name, file).map(drop))
}
