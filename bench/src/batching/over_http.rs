//! Loads below and above the capacity over HTTP. The server is its own process, with an objective
//! and no other setting.

use super::budget::Budget;
use super::capacities::{self, Measured, ms};
use super::loaded_model::OBJECTIVE_MS;
use super::measurement::Measurement;
use super::policies::Baseline;
use super::search::{self, BestRate};
use crate::cores::Cores;
use crate::engine_under_test::install;
use crate::load::block_on;
use crate::process::Server;
use crate::progress::progress;
use crate::targets::{self, Figures};
use anyhow::{Result, ensure};
use skysail_loadtest::arrival::Arrival;
use skysail_loadtest::report::Report;
use skysail_loadtest::{Load, Prepared, run};
use skysail_policy::objective::reachable_us;
use std::future::pending;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// Connections, more than the requests in flight that can be in time.
const CONNECTIONS: usize = 512;

/// Least share of the scheduled rate that must be sent.
const SENT_MIN: f64 = 0.95;

/// Starts a server with these models, measures each and prints the tables.
pub(super) fn tables(
    out: &mut impl Write,
    executable: &Path,
    budget: &Budget,
    baselines: &[Baseline],
) -> Result<()> {
    ensure!(executable.is_file(), "{} is not built", executable.display());
    let folder = tempfile::tempdir()?;
    for baseline in baselines {
        install(folder.path(), &baseline.model.name, &baseline.model.file)?;
    }
    let objective = OBJECTIVE_MS.to_string();
    let flags = ["--objective-ms", &objective];
    let start = || Server::start_with(executable, folder.path(), &flags);
    let server = Cores::split(out)?.start(start)?;
    writeln!(
        out,
        "\n## Over HTTP: a server with `--objective-ms {objective}` and no other setting\n\n\
         | model | load | offered/s | goodput/s | of capacity | p99 ms | rejected/s | their p99 \
         ms | client busy | send delay p99 ms |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
    )?;
    let mut figures = Figures::new();
    for baseline in baselines {
        let client = Client::new(&server, budget, baseline)?;
        figures.extend(client.rows(out, baseline)?);
    }
    writeln!(out, "\n### Targets\n")?;
    targets::print(out, &figures)?;
    Ok(())
}

/// Open loop on one model.
struct Client<'a> {
    budget: &'a Budget,
    prepared: Prepared,
    objective: Duration,
}

impl<'a> Client<'a> {
    fn new(server: &Server, budget: &'a Budget, baseline: &Baseline) -> Result<Self> {
        let prepared = server.first_answer(&baseline.model.name)?;
        let objective_us = reachable_us(OBJECTIVE_MS * 1e3, Some(baseline.row_us));
        Ok(Self { budget, prepared, objective: Duration::from_secs_f64(objective_us / 1e6) })
    }

    fn send(&self, requests_per_s: f64) -> Result<Report> {
        let load = Load {
            arrival: Arrival::Constant { requests_per_s },
            connections: CONNECTIONS,
            threads: 1,
            busy_poll: true,
            window: self.budget.load,
            timeout: Duration::from_secs(10),
            objective: Some(self.objective),
        };
        let report = block_on(run(&self.prepared, &load, pending(), |_| {}))??;
        let first = report.failures.first().map(|failure| failure.message.clone());
        ensure!(report.failed == report.rejected, "requests failed: {}", first.unwrap_or_default());
        Ok(report)
    }

    /// Rate with the most goodput, whether or not the others are rejected.
    fn capacity(&self, baseline: &Baseline) -> Result<BestRate> {
        progress(format_args!("{}: capacity over HTTP", baseline.model.name));
        let probe = |per_s| Ok(measurement(&self.send(per_s)?, self.objective));
        let most = search::capacity(0.1e6 / baseline.row_us, probe)?;
        search::from_capacity(most, self.budget.tries, probe)
    }

    /// Prints a row for each load.
    fn rows(&self, out: &mut impl Write, baseline: &Baseline) -> Result<Figures> {
        let name = &baseline.model.name;
        let best = self.capacity(baseline)?;
        progress(format_args!("{name}: loads over HTTP"));
        let probe = |per_s| Ok(measurement(&self.send(per_s)?, self.objective));
        let found = capacities::in_rounds(&best, self.budget.load_rounds, probe)?;
        for load in &found {
            writeln!(out, "| {name} | {} |", cells(load))?;
        }
        out.flush()?;
        Ok(capacities::figures(name, self.objective.as_secs_f64() * 1e3, &found))
    }
}

/// Measurement from a report.
fn measurement(report: &Report, objective: Duration) -> Measurement {
    let p99_ms = report.latency_us_p99.map_or(f64::INFINITY, |us| us / 1e3);
    Measurement {
        offered_per_s: sent_per_s(report),
        answered_per_s: report.requests_per_s,
        goodput_per_s: report.goodput_requests_per_s.unwrap_or_default(),
        p99_ms,
        rejected_per_s: report.rejected as f64 / report.elapsed_s,
        rejected_p99_ms: report.rejection_us_p99.map(|us| us / 1e3),
        utilization: report.utilization,
        send_delay_p99_ms: report.send_delay_us_p99.unwrap_or_default() / 1e3,
        is_limit: is_limit(report),
        meets_objective: p99_ms <= objective.as_secs_f64() * 1e3,
        ..Measurement::default()
    }
}

fn sent_per_s(report: &Report) -> f64 {
    report.requests as f64 / report.drained_s
}

/// True if the client was the limit: too few requests were sent, or they were late.
fn is_limit(report: &Report) -> bool {
    let wanted_per_s = report.target_requests_per_s.unwrap_or_default();
    let is_whole = sent_per_s(report) >= SENT_MIN * wanted_per_s;
    !is_whole || report.invalid_because.is_some()
}

/// Cells of a row after the model's name.
fn cells(load: &Measured) -> String {
    let Measured { share, measured, of_capacity } = load;
    format!(
        "{share} | {:.0}{} | {:.0} | {of_capacity:.2} | {:.2} | {:.0} | {} | {:.0} % | {:.2}",
        measured.offered_per_s,
        capacities::mark(measured.is_limit),
        measured.goodput_per_s,
        measured.p99_ms,
        measured.rejected_per_s,
        ms(measured.rejected_p99_ms),
        measured.utilization * 1e2,
        measured.send_delay_p99_ms,
    )
}
