//! Loads below and above the capacity, in process. Over HTTP the client and the sockets use a share
//! of the machine that grows with the load; here the policy is measured.

use super::budget::Budget;
use super::capacities::{self, Measured, mark, ms};
use super::policies::{Baseline, stretch};
use super::search;
use super::setting::Setting;
use crate::engine_under_test::TestEngine;
use crate::progress::progress;
use crate::targets::{self, Figures};
use anyhow::Result;
use std::io::Write;

/// Least run time of a row. One thread cannot offer several times the capacity of a faster model.
const ROW_US_MIN: f64 = 20.0;

/// Measures each model at each load and prints the tables.
pub(super) fn tables(
    out: &mut impl Write,
    engine: &TestEngine,
    budget: &Budget,
    baselines: &[Baseline],
) -> Result<()> {
    writeln!(
        out,
        "\n## Below and above the capacity: `predictive`, in process\n\n\
         | model | load | offered/s | goodput/s | of capacity | p99 ms | objective ms | rejected/s \
         | their p99 ms | expired/s | their p99 ms | generator |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
    )?;
    let mut figures = Figures::new();
    for baseline in baselines.iter().filter(|baseline| baseline.row_us >= ROW_US_MIN) {
        figures.extend(rows(out, engine, budget, baseline)?);
    }
    writeln!(out, "\n### Targets\n")?;
    Ok(targets::print(out, &figures)?)
}

/// Prints a row for each load.
fn rows(
    out: &mut impl Write,
    engine: &TestEngine,
    budget: &Budget,
    baseline: &Baseline,
) -> Result<Figures> {
    let name = &baseline.model.name;
    progress(format_args!("{name}: capacity in process"));
    let model = baseline.load(engine, Setting::Predictive)?;
    model.measure(baseline.capacity_per_s, budget.settle, 2)?;
    let probe = |per_s| model.measure(per_s, baseline.stretch(budget.load), 1);
    let best = search::from_capacity(baseline.capacity_per_s, budget.tries, probe)?;
    progress(format_args!("{name}: loads in process"));
    let mut seed = 3;
    let found = capacities::in_rounds(&best, budget.load_rounds, |per_s| {
        seed += 1;
        model.measure(per_s, stretch(budget.load, per_s), seed)
    })?;
    let objective_ms = baseline.objective.as_secs_f64() * 1e3;
    for load in &found {
        writeln!(out, "| {name} | {} |", cells(load, objective_ms))?;
    }
    out.flush()?;
    Ok(capacities::figures(name, objective_ms, &found))
}

/// Cells of a row after the model's name.
fn cells(load: &Measured, objective_ms: f64) -> String {
    let Measured { share, measured, of_capacity } = load;
    format!(
        "{share} | {:.0} | {:.0} | {of_capacity:.2} | {:.2} | {objective_ms:.0} | {:.0} | {} | {:.0} | {} | {:.0} %{}",
        measured.offered_per_s,
        measured.goodput_per_s,
        measured.p99_ms,
        measured.rejected_per_s,
        ms(measured.rejected_p99_ms),
        measured.expired_per_s,
        ms(measured.expired_p99_ms),
        measured.utilization * 1e2,
        mark(measured.is_limit),
    )
}

#[cfg(test)]
mod tests {
    use super::super::measurement::Measurement;
    use super::*;

    #[test]
    fn a_row_distinguishes_rejected_from_expired() {
        let measured = Measurement {
            offered_per_s: 2_000.0,
            goodput_per_s: 930.0,
            p99_ms: 18.5,
            rejected_per_s: 1_000.0,
            rejected_p99_ms: Some(0.25),
            utilization: 0.97,
            is_limit: true,
            ..Measurement::default()
        };
        let load = Measured { share: 2.0, measured, of_capacity: 0.93 };
        let cells = cells(&load, 20.0);
        assert_eq!(cells, "2 | 2000 | 930 | 0.93 | 18.50 | 20 | 1000 | 0.25 | 0 | - | 97 %\\*");
    }
}
