//! Loads in capacities: which are asked for, and the bars that they are held against, in process
//! and over HTTP.

use super::seen::Seen;
use crate::bars::Bar;

/// Parts of the capacity at which everybody is to be answered in time.
const BELOW: [f64; 5] = [0.1, 0.3, 0.5, 0.7, 0.9];

/// Times the capacity at which the rest is to be refused.
const ABOVE: [f64; 2] = [2.0, 5.0];

/// Part of the capacity that is to be left of the goodput.
const GOODPUT_MIN: f64 = 0.9;

/// How soon a refusal is to be told.
const REFUSAL_MS_MAX: f64 = 5.0;

pub(super) type Bars = Vec<(String, f64, Bar)>;

/// All loads, in capacities.
pub(super) fn loads() -> impl Iterator<Item = f64> {
    BELOW.into_iter().chain(ABOVE)
}

/// What a model's loads found, held against the bars.
pub(super) fn bars(
    name: &str,
    capacity_per_s: f64,
    objective_ms: f64,
    found: &[(f64, Seen)],
) -> Bars {
    let (below, above): (Vec<_>, Vec<_>) = found.iter().partition(|(share, _)| *share < 1.0);
    let worst_ms = below.iter().map(|(_, seen)| seen.p99_ms).fold(0.0, f64::max);
    let mark = mark(below.iter().any(|(_, seen)| seen.is_limit));
    let worst = format!("{name}, 10 to 90 %{mark}: the worst p99, ms");
    let mut bars = vec![(worst, worst_ms, Bar::AtMost(objective_ms))];
    for (share, seen) in above {
        let mark = self::mark(seen.is_limit);
        let what = |what: &str| format!("{name}, {share}{mark} times: {what}");
        let goodput = seen.goodput_per_s / capacity_per_s;
        let told_ms = seen.refused_p99_ms.unwrap_or(f64::NAN);
        bars.push((what("goodput of the capacity"), goodput, Bar::AtLeast(GOODPUT_MIN)));
        bars.push((what("p99 of the answered, ms"), seen.p99_ms, Bar::AtMost(objective_ms)));
        bars.push((what("refusals told, p99 ms"), told_ms, Bar::AtMost(REFUSAL_MS_MAX)));
    }
    bars
}

/// A star where whoever asked was the limit.
pub(super) fn mark(is_limit: bool) -> &'static str {
    if is_limit { "\\*" } else { "" }
}

/// Milliseconds, if there are any.
pub(super) fn ms(ms: Option<f64>) -> String {
    ms.map_or("-".to_owned(), |ms| format!("{ms:.2}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers 1000 requests a second within 15 ms.
    fn found() -> Vec<(f64, Seen)> {
        let seen = |share: f64| Seen {
            goodput_per_s: 1e3 * share.min(0.95),
            p99_ms: 10.0 + share,
            refused_p99_ms: (share > 1.0).then_some(share),
            ..Seen::default()
        };
        loads().map(|share| (share, seen(share))).collect()
    }

    fn judged(found: &[(f64, Seen)]) -> Vec<(String, bool)> {
        let bars = bars("mlp", 1_000.0, 20.0, found).into_iter();
        bars.map(|(what, measured, bar)| (what, bar.is_reached(measured))).collect()
    }

    #[test]
    fn who_answers_in_time_and_refuses_soon_reaches_all_bars() {
        let found = found();
        let bars = bars("mlp", 1_000.0, 20.0, &found);
        let measured: Vec<f64> = bars.iter().map(|(_, measured, _)| *measured).collect();
        assert_eq!(measured, [10.9, 0.95, 12.0, 2.0, 0.95, 15.0, 5.0]);
        assert!(judged(&found).iter().all(|(what, reached)| *reached && !what.contains('*')));
    }

    #[test]
    fn one_late_load_below_the_capacity_misses_its_bar() {
        let mut found = found();
        found[1].1.p99_ms = f64::INFINITY;
        let missed: Vec<String> =
            judged(&found).into_iter().filter_map(|(what, is)| (!is).then_some(what)).collect();
        assert_eq!(missed, ["mlp, 10 to 90 %: the worst p99, ms"]);
    }

    #[test]
    fn an_overload_without_refusals_does_not_tell_them_soon() {
        let mut found = found();
        found[5].1.refused_p99_ms = None;
        let missed: Vec<String> =
            judged(&found).into_iter().filter_map(|(what, is)| (!is).then_some(what)).collect();
        assert_eq!(missed, ["mlp, 2 times: refusals told, p99 ms"]);
    }

    #[test]
    fn bars_of_a_generator_at_its_limit_are_marked() {
        let marked = |index: usize| {
            let mut found = found();
            found[index].1.is_limit = true;
            judged(&found).iter().filter(|(what, _)| what.contains("\\*")).count()
        };
        assert_eq!((marked(0), marked(6)), (1, 3));
    }
}
