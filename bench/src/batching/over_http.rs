//! A server in a process of its own, with an objective and no other setting, over HTTP: below its
//! capacity, and far above it.

use super::capacities::{self, Bars, Measured, ms};
use super::house::{OBJECTIVE_MS, install};
use super::pace::Pace;
use super::policies::Look;
use super::progress;
use super::search::{self, Best};
use super::seen::Seen;
use crate::bars;
use crate::cores::Cores;
use crate::process::Server;
use anyhow::{Result, ensure};
use skysail_loadtest::arrival::Arrival;
use skysail_loadtest::report::Report;
use skysail_loadtest::{Load, Prepared, run};
use skysail_policy::objective::reachable_us;
use std::future::pending;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// More than wait at once for answers that come in time.
const CONNECTIONS: usize = 512;

/// Part of the rate that must have gone out.
const SENT_MIN: f64 = 0.95;

/// Starts a server with these models, measures each and prints the tables.
pub(super) fn tables(
    out: &mut impl Write,
    executable: &Path,
    pace: &Pace,
    looks: &[Look],
) -> Result<()> {
    ensure!(executable.is_file(), "{} is not built", executable.display());
    let folder = tempfile::tempdir()?;
    for look in looks {
        install(folder.path(), &look.subject.name, &look.subject.file)?;
    }
    let objective = OBJECTIVE_MS.to_string();
    let flags = ["--objective-ms", &objective];
    let start = || Server::start_with(executable, folder.path(), &flags);
    let server = Cores::split(out)?.start(start)?;
    writeln!(
        out,
        "\n## Over HTTP: a server with `--objective-ms {objective}` and no other setting\n\n\
         | model | load | offered/s | goodput/s | of capacity | p99 ms | refused/s | told in p99 \
         ms | client's load | its lag p99 ms |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
    )?;
    let mut bars = Bars::new();
    for look in looks {
        let client = Client::new(&server, pace, look)?;
        bars.extend(client.rows(out, look)?);
    }
    writeln!(out, "\n### Bars\n")?;
    bars::print(out, &bars)?;
    Ok(())
}

/// An open loop on one model.
struct Client<'a> {
    pace: &'a Pace,
    prepared: Prepared,
    objective: Duration,
}

impl<'a> Client<'a> {
    fn new(server: &Server, pace: &'a Pace, look: &Look) -> Result<Self> {
        let prepared = server.first_answer(&look.subject.name)?;
        let objective_us = reachable_us(OBJECTIVE_MS * 1e3, Some(look.row_us));
        Ok(Self { pace, prepared, objective: Duration::from_secs_f64(objective_us / 1e6) })
    }

    fn ask(&self, requests_per_s: f64) -> Result<Report> {
        let load = Load {
            arrival: Arrival::Constant { requests_per_s },
            connections: CONNECTIONS,
            threads: 1,
            busy_poll: true,
            window: self.pace.load,
            timeout: Duration::from_secs(10),
            objective: Some(self.objective),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let report = runtime.block_on(run(&self.prepared, &load, pending(), |_| {}))?;
        let first = report.failures.first().map(|failure| failure.message.clone());
        ensure!(report.failed == report.rejected, "requests failed: {}", first.unwrap_or_default());
        Ok(report)
    }

    /// The rate with the most requests a second that are answered in time, the others refused or
    /// not.
    fn capacity(&self, look: &Look) -> Result<Best> {
        progress(format_args!("{}: capacity over HTTP", look.subject.name));
        let probe = |per_s| Ok(seen(&self.ask(per_s)?, self.objective));
        let most = search::capacity(0.1e6 / look.row_us, probe)?;
        search::from_capacity(most, self.pace.tries, probe)
    }

    /// Prints a row for each load.
    fn rows(&self, out: &mut impl Write, look: &Look) -> Result<Bars> {
        let name = &look.subject.name;
        let best = self.capacity(look)?;
        progress(format_args!("{name}: loads over HTTP"));
        let probe = |per_s| Ok(seen(&self.ask(per_s)?, self.objective));
        let found = capacities::in_rounds(&best, self.pace.load_rounds, probe)?;
        for load in &found {
            writeln!(out, "| {name} | {} |", cells(load))?;
        }
        out.flush()?;
        Ok(capacities::bars(name, self.objective.as_secs_f64() * 1e3, &found))
    }
}

/// What a report says, as the search wants it.
fn seen(report: &Report, objective: Duration) -> Seen {
    let p99_ms = report.latency_us_p99.map_or(f64::INFINITY, |us| us / 1e3);
    Seen {
        offered_per_s: sent_per_s(report),
        answered_per_s: report.requests_per_s,
        goodput_per_s: report.goodput_requests_per_s.unwrap_or_default(),
        p99_ms,
        refused_per_s: report.rejected as f64 / report.elapsed_s,
        refused_p99_ms: report.rejection_us_p99.map(|us| us / 1e3),
        busy: report.utilization,
        lag_p99_ms: report.send_delay_us_p99.unwrap_or_default() / 1e3,
        is_limit: is_limit(report),
        keeps: p99_ms <= objective.as_secs_f64() * 1e3,
        ..Seen::default()
    }
}

fn sent_per_s(report: &Report) -> f64 {
    report.requests as f64 / report.drained_s
}

/// Whether less than was to be offered went out, or late: the client has no cores of its own.
fn is_limit(report: &Report) -> bool {
    let wanted_per_s = report.target_requests_per_s.unwrap_or_default();
    let is_whole = sent_per_s(report) >= SENT_MIN * wanted_per_s;
    !is_whole || report.invalid_because.is_some()
}

/// A row, but for the model.
fn cells(load: &Measured) -> String {
    let Measured { share, seen, of_capacity } = load;
    format!(
        "{share} | {:.0}{} | {:.0} | {of_capacity:.2} | {:.2} | {:.0} | {} | {:.0} % | {:.2}",
        seen.offered_per_s,
        capacities::mark(seen.is_limit),
        seen.goodput_per_s,
        seen.p99_ms,
        seen.refused_per_s,
        ms(seen.refused_p99_ms),
        seen.busy * 1e2,
        seen.lag_p99_ms,
    )
}
