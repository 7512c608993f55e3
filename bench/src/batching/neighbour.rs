//! A model under load while another is loaded and unloaded again and again: what the first one's
//! callers notice of it.

use super::arrivals::Traffic;
use super::drive::Run;
use super::house::{Guest, House};
use super::pace::Pace;
use super::policies::Look;
use super::progress;
use super::seen::quantile;
use super::setting::{Given, Setting};
use super::subject::Subject;
use anyhow::{Context, Result};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Part of the capacity that is asked for.
const LOAD_SHARE: f64 = 0.5;

/// How often both are measured in turn.
const ROUNDS: u64 = 3;

/// What callers saw, with and without a neighbour.
#[derive(Debug, Default)]
struct Saw {
    latencies: Vec<Duration>,
    refused: usize,
    loads: usize,
}

impl Saw {
    fn add(&mut self, run: &Run) {
        for outcome in &run.outcomes {
            if outcome.fate.is_answered() {
                self.latencies.push(outcome.latency);
            } else {
                self.refused += 1;
            }
        }
    }

    fn ms(&mut self, part: f64) -> f64 {
        quantile(&mut self.latencies, part).map_or(f64::NAN, |d| d.as_secs_f64() * 1e3)
    }
}

/// Measures a model beside `neighbour` and prints the table.
pub(super) fn run(
    out: &mut impl Write,
    house: &House,
    pace: &Pace,
    look: &Look,
    neighbour: &Subject,
) -> Result<()> {
    let guest = look.load(house, Setting::Predictive)?;
    guest.measure(look.capacity_per_s, pace.settle, 2)?;
    let other = house.load(neighbour, Setting::Predictive, &Given::default())?;
    house.unload(other.name())?;
    let (mut alone, mut beside) = (Saw::default(), Saw::default());
    let traffic = Traffic::steady(LOAD_SHARE * look.capacity_per_s);
    let length = pace.long / 3;
    for round in 1..=ROUNDS {
        progress(format_args!("{}: neighbour, round {round} of {ROUNDS}", look.subject.name));
        alone.add(&guest.ask(traffic, length, round)?);
        let (run, loads) =
            ask_beside(house, &guest, other.name(), || guest.ask(traffic, length, round))?;
        beside.add(&run);
        beside.loads += loads;
    }
    print(out, look, neighbour, &mut alone, &mut beside)
}

/// Asks while the other model is loaded and unloaded; also how often it was.
fn ask_beside(
    house: &House,
    guest: &Guest<'_>,
    other: &str,
    ask: impl FnOnce() -> Result<Run>,
) -> Result<(Run, usize)> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let loading = scope.spawn(|| -> Result<usize> {
            let mut loads = 0;
            while !done.load(Ordering::Relaxed) {
                house.load_again(other)?;
                house.unload(other)?;
                loads += 1;
            }
            Ok(loads)
        });
        let run = ask();
        done.store(true, Ordering::Relaxed);
        let loads = loading.join().ok().context("the thread that loads has panicked")??;
        Ok((run.with_context(|| guest.name().to_owned())?, loads))
    })
}

fn print(
    out: &mut impl Write,
    look: &Look,
    neighbour: &Subject,
    alone: &mut Saw,
    beside: &mut Saw,
) -> Result<()> {
    let objective_ms = look.objective.as_secs_f64() * 1e3;
    writeln!(
        out,
        "\n## A neighbour that comes and goes: {} at {LOAD_SHARE} of its capacity, {} loaded and \
         unloaded\n\n\
         | | loads | answered | refused | p50 ms | p99 ms | bar | p99.9 ms | max ms | |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|---|",
        look.subject.name, neighbour.name
    )?;
    let p99_alone = alone.ms(0.99);
    for (what, saw) in [("alone", alone), ("beside it", &mut *beside)] {
        let (loads, answered, refused) = (saw.loads, saw.latencies.len(), saw.refused);
        let [p50, p99, p999, max] = [0.5, 0.99, 0.999, 1.0].map(|part| saw.ms(part));
        let verdict = if p99 <= objective_ms { "reached" } else { "MISSED" };
        writeln!(
            out,
            "| {what} | {loads} | {answered} | {refused} | {p50:.2} | {p99:.2} | <= \
             {objective_ms} | {p999:.2} | {max:.2} | {verdict} |"
        )?;
    }
    writeln!(out, "\np99 beside it over p99 alone: {:.2}", beside.ms(0.99) / p99_alone)?;
    Ok(())
}
