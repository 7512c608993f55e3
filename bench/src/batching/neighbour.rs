//! Neighbour: a model under load while another is loaded and unloaded again and again.

use super::bench_model::BenchModel;
use super::budget::Budget;
use super::drive::Run;
use super::loaded_model::LoadedModel;
use super::policies::Baseline;
use super::setting::{FixedSettings, Setting};
use crate::engine_under_test::TestEngine;
use crate::progress::progress;
use anyhow::{Context, Result};
use skysail_loadtest::quantiles::nearest_rank;
use skysail_policy::simulate::Arrivals;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Load, relative to the capacity.
const LOAD_SHARE: f64 = 0.5;

/// Rounds, each with and without the neighbour.
const ROUNDS: u64 = 3;

/// Latencies as clients see them.
#[derive(Debug, Default)]
struct ClientView {
    latencies: Vec<Duration>,
    rejected: usize,
    loads: usize,
}

impl ClientView {
    fn add(&mut self, run: &Run) {
        for completion in &run.completions {
            if completion.outcome.is_answered() {
                self.latencies.push(completion.latency);
            } else {
                self.rejected += 1;
            }
        }
    }

    fn ms(&mut self, part: f64) -> f64 {
        nearest_rank(&mut self.latencies, part).map_or(f64::NAN, |d| d.as_secs_f64() * 1e3)
    }
}

/// Measures a model beside `neighbour` and prints the table.
pub(super) fn run(
    out: &mut impl Write,
    engine: &TestEngine,
    budget: &Budget,
    baseline: &Baseline,
    neighbour: &BenchModel,
) -> Result<()> {
    let model = baseline.load(engine, Setting::Predictive)?;
    model.measure(baseline.capacity_per_s, budget.settle, 2)?;
    let default = FixedSettings::default();
    // It is unloaded again at once.
    let other =
        LoadedModel::load(engine, neighbour, Setting::Predictive, &default)?.name().to_owned();
    let (mut alone, mut beside) = (ClientView::default(), ClientView::default());
    let arrivals = Arrivals::Poisson { per_s: LOAD_SHARE * baseline.capacity_per_s };
    let length = budget.long / 3;
    for round in 1..=ROUNDS {
        progress(format_args!("{}: neighbour, round {round} of {ROUNDS}", baseline.model.name));
        alone.add(&model.send(&arrivals, length, round)?);
        let (run, loads) =
            send_beside(engine, &model, &other, || model.send(&arrivals, length, round))?;
        beside.add(&run);
        beside.loads += loads;
    }
    print(out, baseline, neighbour, &mut alone, &mut beside)
}

/// Sends requests while the other model is loaded and unloaded, and counts the loads.
fn send_beside(
    engine: &TestEngine,
    model: &LoadedModel<'_>,
    other: &str,
    send: impl FnOnce() -> Result<Run>,
) -> Result<(Run, usize)> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let loading = scope.spawn(|| -> Result<usize> {
            let mut loads = 0;
            while !done.load(Ordering::Relaxed) {
                engine.load(other)?;
                engine.unload(other)?;
                loads += 1;
            }
            Ok(loads)
        });
        let run = send();
        done.store(true, Ordering::Relaxed);
        let loads = loading.join().ok().context("the thread that loads has panicked")??;
        Ok((run.with_context(|| model.name().to_owned())?, loads))
    })
}

fn print(
    out: &mut impl Write,
    baseline: &Baseline,
    neighbour: &BenchModel,
    alone: &mut ClientView,
    beside: &mut ClientView,
) -> Result<()> {
    let objective_ms = baseline.objective.as_secs_f64() * 1e3;
    writeln!(
        out,
        "\n## A neighbour that is loaded and unloaded: {} at {LOAD_SHARE} of its capacity, {} loaded and \
         unloaded\n\n\
         | | loads | answered | rejected | p50 ms | p99 ms | target | p99.9 ms | max ms | |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|---|",
        baseline.model.name, neighbour.name
    )?;
    let p99_alone = alone.ms(0.99);
    for (what, view) in [("alone", alone), ("beside it", &mut *beside)] {
        let (loads, answered, rejected) = (view.loads, view.latencies.len(), view.rejected);
        let [p50, p99, p999, max] = [0.5, 0.99, 0.999, 1.0].map(|part| view.ms(part));
        let verdict = if p99 <= objective_ms { "reached" } else { "MISSED" };
        writeln!(
            out,
            "| {what} | {loads} | {answered} | {rejected} | {p50:.2} | {p99:.2} | <= \
             {objective_ms} | {p999:.2} | {max:.2} | {verdict} |"
        )?;
    }
    writeln!(out, "\np99 beside it over p99 alone: {:.2}", beside.ms(0.99) / p99_alone)?;
    Ok(())
}
