//! Loads relative to the capacity, and their targets, in process and over HTTP.

use super::measurement::Measurement;
use super::search::{BestRate, Staircase};
use crate::targets::{Figures, Target};
use anyhow::Result;
use skysail_loadtest::quantiles::median;

/// Loads below the capacity, at which every request must be in time.
const BELOW: [f64; 5] = [0.1, 0.3, 0.5, 0.7, 0.9];

/// Loads above the capacity, at which the rest must be rejected.
const ABOVE: [f64; 2] = [2.0, 5.0];

/// Least goodput above the capacity, relative to it.
const GOODPUT_MIN: f64 = 0.9;

/// Greatest p99 of the time to a rejection, in milliseconds.
const REJECTION_MS_MAX: f64 = 5.0;

/// Median of a load's rounds.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    /// Load, relative to the capacity.
    pub(super) share: f64,
    pub(super) measured: Measurement,
    /// Goodput, relative to the capacity of the same round.
    pub(super) of_capacity: f64,
}

/// Measures all loads in rounds. The machine's speed varies, so each round finds the capacity anew,
/// first and after each load above it, and relates its loads to that.
pub(super) fn in_rounds(
    best: &BestRate,
    rounds: u64,
    mut probe: impl FnMut(f64) -> Result<Measurement>,
) -> Result<Vec<Measured>> {
    let mut stairs = Staircase::new(best);
    let mut capacity_per_s = best.goodput_per_s();
    let mut found: Vec<(f64, Vec<(Measurement, f64)>)> =
        BELOW.into_iter().chain(ABOVE).map(|share| (share, Vec::new())).collect();
    for _ in 0..rounds {
        capacity_per_s = stairs.goodput_per_s(&mut probe)?.unwrap_or(capacity_per_s);
        for (share, measured) in &mut found {
            let one = probe(*share * capacity_per_s)?;
            let before_per_s = capacity_per_s;
            if *share > 1.0 {
                capacity_per_s = stairs.goodput_per_s(&mut probe)?.unwrap_or(capacity_per_s);
            }
            let around_per_s = f64::midpoint(before_per_s, capacity_per_s);
            measured.push((one, one.goodput_per_s / around_per_s.max(1.0)));
        }
    }
    Ok(found.into_iter().map(|(share, rounds)| middle(share, &rounds)).collect())
}

fn middle(share: f64, rounds: &[(Measurement, f64)]) -> Measured {
    let (measured, ratios): (Vec<Measurement>, Vec<f64>) = rounds.iter().copied().unzip();
    Measured { share, measured: Measurement::middle(&measured), of_capacity: median(&ratios) }
}

/// Figures of a model's loads, with their targets.
pub(super) fn figures(name: &str, objective_ms: f64, found: &[Measured]) -> Figures {
    let (below, above): (Vec<_>, Vec<_>) = found.iter().partition(|load| load.share < 1.0);
    let worst_ms = below.iter().map(|load| load.measured.p99_ms).fold(0.0, f64::max);
    let mark = mark(below.iter().any(|load| load.measured.is_limit));
    let worst = format!("{name}, 10 to 90 %{mark}: the worst p99, ms");
    let mut figures = vec![(worst, worst_ms, Target::AtMost(objective_ms))];
    for Measured { share, measured, of_capacity } in above {
        let mark = self::mark(measured.is_limit);
        let what = |what: &str| format!("{name}, {share}{mark} times: {what}");
        let rejected_ms = measured.rejected_p99_ms.unwrap_or(f64::NAN);
        figures.push((what("goodput of the capacity"), *of_capacity, Target::AtLeast(GOODPUT_MIN)));
        figures.push((
            what("p99 of the answered, ms"),
            measured.p99_ms,
            Target::AtMost(objective_ms),
        ));
        figures.push((
            what("p99 of the rejected, ms"),
            rejected_ms,
            Target::AtMost(REJECTION_MS_MAX),
        ));
    }
    figures
}

/// Star where the load generator was the limit.
pub(super) fn mark(is_limit: bool) -> &'static str {
    if is_limit { "\\*" } else { "" }
}

/// Milliseconds, or `-`.
pub(super) fn ms(ms: Option<f64>) -> String {
    ms.map_or("-".to_owned(), |ms| format!("{ms:.2}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Server that answers 1000 requests a second within 15 ms, at half the speed in every second
    /// round. A rejection takes as many milliseconds as the load has capacities.
    fn found() -> Vec<Measured> {
        let best = BestRate { per_s: 1_000.0, measurement: Measurement::default() };
        let mut asked = 0;
        let probe = |per_s: f64| {
            asked += 1;
            // A round has seven loads, and three or more capacities.
            let most_per_s = if (asked - 1) / 10 % 2 == 1 { 500.0 } else { 1_000.0 };
            let part = per_s / most_per_s;
            Ok(Measurement {
                offered_per_s: per_s,
                goodput_per_s: per_s.min(most_per_s) * if part > 1.5 { 0.95 } else { 1.0 },
                p99_ms: 10.0 + part,
                meets_objective: true,
                rejected_p99_ms: (part > 1.0).then_some(part),
                ..Measurement::default()
            })
        };
        in_rounds(&best, 3, probe).unwrap()
    }

    fn judged(found: &[Measured]) -> Vec<(String, bool)> {
        let figures = figures("mlp", 20.0, found).into_iter();
        figures.map(|(what, measured, bar)| (what, bar.is_reached(measured))).collect()
    }

    #[test]
    fn responses_in_time_and_fast_rejections_reach_all_targets_at_any_speed() {
        let found = found();
        let figures = figures("mlp", 20.0, &found);
        let wanted = [10.9, 0.95, 12.0, 2.0, 0.95, 15.0, 5.0];
        for ((what, measured, _), wanted) in figures.iter().zip(wanted) {
            assert!((measured / wanted - 1.0_f64).abs() < 0.05, "{what}: {measured}");
        }
        assert!(judged(&found).iter().all(|(what, reached)| *reached && !what.contains('*')));
    }

    #[test]
    fn one_late_load_below_the_capacity_misses_its_target() {
        let mut found = found();
        found[1].measured.p99_ms = f64::INFINITY;
        let missed: Vec<String> =
            judged(&found).into_iter().filter_map(|(what, is)| (!is).then_some(what)).collect();
        assert_eq!(missed, ["mlp, 10 to 90 %: the worst p99, ms"]);
    }

    #[test]
    fn an_overload_without_rejections_misses_their_target() {
        let mut found = found();
        found[5].measured.rejected_p99_ms = None;
        let missed: Vec<String> =
            judged(&found).into_iter().filter_map(|(what, is)| (!is).then_some(what)).collect();
        assert_eq!(missed, ["mlp, 2 times: p99 of the rejected, ms"]);
    }

    #[test]
    fn targets_of_a_generator_at_its_limit_are_marked() {
        let marked = |index: usize| {
            let mut found = found();
            found[index].measured.is_limit = true;
            judged(&found).iter().filter(|(what, _)| what.contains("\\*")).count()
        };
        assert_eq!((marked(0), marked(6)), (1, 3));
    }
}
