//! `skysail-bench tracing`: the cost of request records. Two servers of the same build, with and
//! without records, are measured in turn under the same load.

use crate::alternation::{alternate, ratio};
use crate::engine_under_test::{SMALL_MLP, install_mlp};
use crate::load::ClosedLoop;
use crate::process::Server;
use crate::targets::{self, Target};
use anyhow::{Result, ensure};
use clap::Args;
use skysail_engine::cause::{Cause, Run};
use skysail_engine::observe::statistics::Statistics;
use skysail_engine::parameters::CustomParameters;
use skysail_engine::request_record::{Ends, Outcome, RequestId, RequestRecord};
use skysail_engine::stage::Stage;
use skysail_loadtest::target::Protocol;
use std::hint::black_box;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Model of the benchmark, and its load.
const NAME: &str = "small";
const CONNECTIONS: usize = 64;

/// Records that are made to measure the cost of one.
const RECORDS: u32 = 2_000_000;

/// Measure the cost of request records
#[derive(Args)]
pub(crate) struct Flags {
    /// Seconds of each measurement
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Measurements of each server, in turn
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Executable of the server
    #[arg(long, default_value = "target/release/skysail-server")]
    server: PathBuf,
}

/// Runs the benchmark and prints its tables.
pub(crate) fn run(flags: &Flags) -> Result<()> {
    ensure!(flags.server.is_file(), "{} is not built", flags.server.display());
    let note_us = note_us();
    let folder = tempfile::tempdir()?;
    install_mlp(folder.path(), NAME, SMALL_MLP)?;
    let start = |on| Server::start_with(&flags.server, folder.path(), &["--request-records", on]);
    let servers = [start("false")?, start("true")?];
    let closed = ClosedLoop {
        models: &[NAME],
        protocol: Protocol::Binary,
        connections: CONNECTIONS,
        duration: Duration::from_secs(flags.seconds),
    };
    for server in &servers {
        server.first_answer(NAME)?;
        closed.warm_up(server)?;
    }
    let [off, on] = alternate(flags.rounds, servers.each_ref(), |server| {
        Ok(closed.run(&server.http)?.requests_per_s)
    })?;
    let mut out = io::stdout().lock();
    writeln!(out, "| round | off req/s | on req/s | on/off |\n|---:|---:|---:|---:|")?;
    for (round, (off, on)) in off.iter().zip(&on).enumerate() {
        writeln!(out, "| {} | {off:.0} | {on:.0} | {:.3} |", round + 1, on / off)?;
    }
    let ratio = ratio(&on, &off);
    writeln!(out)?;
    let percent = (1.0 - ratio) * 100.0;
    targets::print(
        &mut out,
        &[
            ("throughput lost with records on, median, %", percent, Target::AtMost(3.0)),
            ("noting one record, us", note_us, Target::AtMost(1.0)),
        ],
    )?;
    Ok(())
}

/// Time to make a record, find its cause, count it, and keep it if it is slow.
fn note_us() -> f64 {
    let statistics = Statistics::default();
    let model: Arc<str> = NAME.into();
    let mut accepted = Instant::now();
    let begun = Instant::now();
    for number in 0..RECORDS {
        accepted = accepted.max(Instant::now());
        let mut record = record(&model, accepted, number);
        record.find_cause();
        statistics.record(black_box(&record));
    }
    let spent = begun.elapsed();
    black_box(statistics.total());
    spent.as_secs_f64() * 1e6 / f64::from(RECORDS)
}

/// Record of one of many requests, which differ by some ten microseconds.
fn record(model: &Arc<str>, accepted: Instant, number: u32) -> RequestRecord {
    let mut ends = Ends::NONE;
    let mut end = Duration::ZERO;
    for stage in Stage::ALL {
        end += Duration::from_nanos(u64::from(1_000 + number % 97 * 100 * (stage as u32 + 1)));
        ends.push(end);
    }
    let ended_us = u64::try_from(end.as_micros()).unwrap_or(u64::MAX);
    let run = Run {
        number: number.into(),
        rows: 32,
        members: 32,
        predicted_us: Some(100),
        ran_us: 100,
        cold: false,
    };
    RequestRecord {
        model: Arc::clone(model),
        version: 1,
        request_id: RequestId::own(),
        parameters: CustomParameters::default(),
        trace_id: None,
        accepted,
        ends,
        ended_us,
        written_us: None,
        outcome: Outcome::Answered,
        run: Some(run),
        behind: None,
        ahead: 3,
        cache: None,
        objective_us: None,
        sending_us: 0,
        loading_us: 0,
        cause: Cause::Ordinary,
    }
}
