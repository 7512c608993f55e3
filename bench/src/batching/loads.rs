//! Below and above the capacity, in process: over HTTP the client and the sockets take a part of
//! the machine that grows with the load; here the generator's is small, so that the policy is what
//! is measured.

use super::capacities::{self, Bars, Measured, mark, ms};
use super::house::House;
use super::pace::Pace;
use super::policies::{Look, stretch};
use super::progress;
use super::search;
use super::setting::Setting;
use crate::bars;
use anyhow::Result;
use std::io::Write;

/// A model whose row runs for less is no load for a server that one thread asks: several times its
/// capacity would be several times the generator's.
const ROW_US_MIN: f64 = 20.0;

/// Measures each model at each load and prints the tables.
pub(super) fn tables(
    out: &mut impl Write,
    house: &House,
    pace: &Pace,
    looks: &[Look],
) -> Result<()> {
    writeln!(
        out,
        "\n## Below and above the capacity: `predictive`, in process\n\n\
         | model | load | offered/s | goodput/s | of capacity | p99 ms | objective ms | refused/s \
         | told in p99 ms | given up/s | their p99 ms | generator |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
    )?;
    let mut bars = Bars::new();
    for look in looks.iter().filter(|look| look.row_us >= ROW_US_MIN) {
        bars.extend(rows(out, house, pace, look)?);
    }
    writeln!(out, "\n### Bars\n")?;
    Ok(bars::print(out, &bars)?)
}

/// Prints a row for each load.
fn rows(out: &mut impl Write, house: &House, pace: &Pace, look: &Look) -> Result<Bars> {
    let name = &look.subject.name;
    progress(format_args!("{name}: capacity in process"));
    let guest = look.load(house, Setting::Predictive)?;
    guest.measure(look.capacity_per_s, pace.settle, 2)?;
    let probe = |per_s| guest.measure(per_s, look.stretch(pace.load), 1);
    let best = search::from_capacity(look.capacity_per_s, pace.tries, probe)?;
    progress(format_args!("{name}: loads in process"));
    let mut seed = 3;
    let found = capacities::in_rounds(&best, pace.load_rounds, |per_s| {
        seed += 1;
        guest.measure(per_s, stretch(pace.load, per_s), seed)
    })?;
    let objective_ms = look.objective.as_secs_f64() * 1e3;
    for load in &found {
        writeln!(out, "| {name} | {} |", cells(load, objective_ms))?;
    }
    out.flush()?;
    Ok(capacities::bars(name, objective_ms, &found))
}

/// A row, but for the model.
fn cells(load: &Measured, objective_ms: f64) -> String {
    let Measured { share, seen, of_capacity } = load;
    format!(
        "{share} | {:.0} | {:.0} | {of_capacity:.2} | {:.2} | {objective_ms:.0} | {:.0} | {} | {:.0} | {} | {:.0} %{}",
        seen.offered_per_s,
        seen.goodput_per_s,
        seen.p99_ms,
        seen.refused_per_s,
        ms(seen.refused_p99_ms),
        seen.given_up_per_s,
        ms(seen.given_up_p99_ms),
        seen.busy * 1e2,
        mark(seen.is_limit),
    )
}

#[cfg(test)]
mod tests {
    use super::super::seen::Seen;
    use super::*;

    #[test]
    fn a_row_tells_the_refused_from_the_given_up() {
        let seen = Seen {
            offered_per_s: 2_000.0,
            goodput_per_s: 930.0,
            p99_ms: 18.5,
            refused_per_s: 1_000.0,
            refused_p99_ms: Some(0.25),
            busy: 0.97,
            is_limit: true,
            ..Seen::default()
        };
        let load = Measured { share: 2.0, seen, of_capacity: 0.93 };
        let cells = cells(&load, 20.0);
        assert_eq!(cells, "2 | 2000 | 930 | 0.93 | 18.50 | 20 | 1000 | 0.25 | 0 | - | 97 %\\*");
    }
}
