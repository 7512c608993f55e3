//! Thousands of connections: the tail of the latency, the share of the slowest connection, and the
//! memory of a connection at rest.

use super::Bench;
use crate::alternation::{Side, alternate_all, ratio};
use crate::bare_responder::BareResponder;
use crate::engine_under_test::{SMALL_MLP, install_mlp};
use crate::http::Connection;
use crate::load::{ClosedLoop, Generator, LoadResult};
use crate::open_files;
use crate::process::Server;
use crate::targets::{Figures, Target};
use anyhow::Result;
use skysail_loadtest::quantiles::median;
use skysail_loadtest::target::Protocol;
use std::io::Write;

/// Greatest p99 relative to p50.
const TAIL_MAX: f64 = 3.0;
/// Least responses of a connection relative to the mean.
const SHARE_MIN: f64 = 0.5;
/// Most memory of a connection at rest.
const RESTING_KB_MAX: f64 = 12.0;
/// Factor of the duration: each connection must have enough responses to compare.
const LONGER: u32 = 2;
/// Open files of a process besides its connections.
const OTHER_FILES: usize = 200;

pub(super) fn table(out: &mut impl Write, bench: &Bench) -> Result<Figures> {
    let most = bench.extent.connections[1];
    // The bare responder runs in this process, so that both ends are counted.
    open_files::raise(2 * most + OTHER_FILES)?;
    let folder = tempfile::tempdir()?;
    install_mlp(folder.path(), "small", SMALL_MLP)?;
    let allowed = (most + OTHER_FILES).to_string();
    let flags = ["--connections-max", &*allowed];
    writeln!(
        out,
        "| connections | server | req/s | p50 ms | p99 ms | p99/p50 | slowest connection, of the \
         mean |\n|---:|---|---:|---:|---:|---:|---:|"
    )?;
    let servers = bench.start(folder.path(), &flags)?;
    let mut figures = Figures::new();
    for connections in bench.extent.connections {
        figures.extend(busy(out, bench, &servers, connections)?);
    }
    drop(servers);
    writeln!(out, "\n| build | connections at rest | kB of each |\n|---|---:|---:|")?;
    for (build, server) in bench.builds.iter().zip(bench.start(folder.path(), &flags)?) {
        let each_kb = resting_kb(&server, most, bench)?;
        writeln!(out, "| {} | {most} | {each_kb:.1} |", build.name)?;
        if build.is_new() {
            let what = format!("{most} connections at rest: kB of each");
            figures.push((what, each_kb, Target::AtMost(RESTING_KB_MAX)));
        }
    }
    Ok(figures)
}

/// Measures a closed loop on every build and on a bare responder.
fn busy(
    out: &mut impl Write,
    bench: &Bench,
    servers: &[Server],
    connections: usize,
) -> Result<Figures> {
    let bare = BareResponder::start(bench.cores, SMALL_MLP[0])?;
    let closed = ClosedLoop {
        models: &["small"],
        protocol: Protocol::Binary,
        connections,
        duration: bench.extent.duration * LONGER,
    };
    servers.iter().try_for_each(|server| closed.warm_up(server))?;
    let addresses = servers.iter().map(|server| &*server.http).chain([&*bare.address]);
    // `wrk` does not count by connection.
    let by = Generator::SkysailLoad;
    let side = |address| Box::new(move || closed.run_by(by, address)) as Side<'_, LoadResult>;
    let mut sides: Vec<Side<'_, LoadResult>> = addresses.map(side).collect();
    let measured = alternate_all(bench.extent.rounds, &mut sides, |side| side())?;
    let names = bench.builds.iter().map(|build| build.name).chain(["bare responder"]);
    let mut figures = Figures::new();
    for (name, rounds) in names.zip(&measured) {
        let of = |figure: fn(&LoadResult) -> f64| rounds.iter().map(figure).collect::<Vec<f64>>();
        let (p50, p99) = (of(|load| load.p50_us / 1e3), of(|load| load.p99_us / 1e3));
        let rate = median(&of(|load| load.requests_per_s));
        let tail = ratio(&p99, &p50);
        let share = median(&of(|load| load.slowest_connection_share.unwrap_or(f64::NAN)));
        let (p50, p99) = (median(&p50), median(&p99));
        writeln!(
            out,
            "| {connections} | {name} | {rate:.0} | {p50:.1} | {p99:.1} | {tail:.2} | {share:.2} |"
        )?;
        if name == "new" {
            let what = |what: &str| format!("{connections} connections: {what}");
            figures.push((what("p99 relative to p50"), tail, Target::AtMost(TAIL_MAX)));
            let slowest = what("slowest connection, relative to the mean");
            figures.push((slowest, share, Target::AtLeast(SHARE_MIN)));
        }
    }
    Ok(figures)
}

/// Memory of a connection that has made one request and rests, in kB.
fn resting_kb(server: &Server, count: usize, bench: &Bench) -> Result<f64> {
    let closed = ClosedLoop {
        models: &["small"],
        protocol: Protocol::Binary,
        connections: 64,
        duration: bench.extent.duration,
    };
    closed.warm_up(server)?;
    let request = closed.request_bytes(&server.http)?;
    let before_mb = server.resident_mb_after(bench.extent.rest)?;
    let mut resting = Vec::with_capacity(count);
    for _ in 0..count {
        let mut connection = Connection::open(&server.http)?;
        connection.ask(&request)?;
        resting.push(connection);
    }
    let after_mb = server.resident_mb_after(bench.extent.rest)?;
    drop(resting);
    Ok((after_mb - before_mb) * 1024.0 / count as f64)
}
