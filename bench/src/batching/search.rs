//! Searches of offered rates: the saturation of a server, and its most goodput within an objective.

use super::measurement::Measurement;
use anyhow::Result;
use skysail_loadtest::capacity::bracket::{Bracket, Step};

/// Most probes of a search; a server without a limit needs them all.
const STEPS_MAX: usize = 24;
/// Precision of the best rate.
const PRECISION: f64 = 0.03;
/// First rate of a search for goodput, relative to the capacity.
const FIRST_SHARE: f64 = 1.1;
/// Next rate after one at which many requests were rejected, relative to its goodput.
const OVER_GOODPUT: f64 = 1.03;
/// Next rate after one that missed the objective, relative to the answered rate.
const UNDER_ANSWERED: f64 = 0.95;
/// Least and greatest ratio of that next rate to the missed one.
const LOWER: (f64, f64) = (0.4, 0.85);

/// Rate with the most goodput within the objective, or the last one if none meets it.
#[derive(Clone, Copy, Debug)]
pub(super) struct BestRate {
    pub(super) per_s: f64,
    pub(super) measurement: Measurement,
}

impl BestRate {
    /// Goodput, or the rate where the objective was missed.
    pub(super) fn goodput_per_s(&self) -> f64 {
        if self.measurement.meets_objective { self.measurement.goodput_per_s } else { self.per_s }
    }
}

/// Finds the most goodput: doubles the rate until it is not sustained twice in a row, so that one
/// disturbance is no limit.
pub(super) fn capacity(
    start_per_s: f64,
    mut probe: impl FnMut(f64) -> Result<Measurement>,
) -> Result<f64> {
    let mut per_s = start_per_s;
    let mut most_per_s = 0.0_f64;
    let mut failures = 0;
    for _ in 0..STEPS_MAX {
        let measured = probe(per_s)?;
        most_per_s = most_per_s.max(measured.goodput_per_s);
        if measured.is_sustained() {
            failures = 0;
            per_s *= 2.0;
        } else if failures == 1 {
            break;
        } else {
            failures += 1;
        }
    }
    Ok(most_per_s.max(1.0))
}

/// Finds the rate with the most goodput within the objective, in a number of tries. Sustained rates
/// are no tries. The search begins above the capacity. A rate that meets the objective by rejecting
/// many requests counts, but the search goes on where few are rejected, as rejecting costs time.
pub(super) fn best(
    start_per_s: f64,
    tries: usize,
    mut probe: impl FnMut(f64) -> Result<Measurement>,
) -> Result<BestRate> {
    let mut bracket = Bracket::new(start_per_s, f64::MIN_POSITIVE, f64::INFINITY, PRECISION);
    let mut best: Option<BestRate> = None;
    let mut last = BestRate { per_s: start_per_s, measurement: Measurement::default() };
    let mut failures = 0;
    for _ in 0..STEPS_MAX {
        let Step::Try { per_s } = bracket.next() else { break };
        let measurement = probe(per_s)?;
        last = BestRate { per_s, measurement };
        let goodput_per_s = measurement.goodput_per_s;
        let is_better = best.is_none_or(|best| best.measurement.goodput_per_s < goodput_per_s);
        if measurement.meets_objective && is_better {
            best = Some(last);
        }
        if measurement.meets_objective && measurement.is_sustained() {
            bracket.passed(per_s);
            continue;
        }
        bracket.failed(per_s, Some(lower(per_s, &measurement)));
        failures += 1;
        if failures == tries {
            break;
        }
    }
    Ok(best.unwrap_or(last))
}

/// Next rate below one that is not sustained or misses the objective.
fn lower(per_s: f64, measurement: &Measurement) -> f64 {
    if measurement.meets_objective {
        return measurement.goodput_per_s * OVER_GOODPUT;
    }
    (measurement.answered_per_s * UNDER_ANSWERED).clamp(per_s * LOWER.0, per_s * LOWER.1)
}

/// Finds the best rate from a capacity; the capacity itself if no rate meets the objective.
pub(super) fn from_capacity(
    capacity_per_s: f64,
    tries: usize,
    probe: impl FnMut(f64) -> Result<Measurement>,
) -> Result<BestRate> {
    let best = best(FIRST_SHARE * capacity_per_s, tries, probe)?;
    let meets = best.measurement.meets_objective;
    Ok(if meets { best } else { BestRate { per_s: capacity_per_s, ..best } })
}

/// Staircase that follows the rate which just meets the objective. Per round the rate is raised by
/// 3 % if the objective was met, or lowered by 7 % and tried again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Staircase {
    per_s: f64,
    most_per_s: f64,
}

impl Staircase {
    /// Most probes of a round.
    const TRIES: usize = 3;

    /// Creates a staircase that begins at a rate and never exceeds 1.3 times that.
    pub(super) fn new(best: &BestRate) -> Self {
        Self { per_s: best.per_s, most_per_s: best.per_s * 1.3 }
    }

    /// Measures one round: the first probe that meets the objective, or the last one. After a probe
    /// that rejected many requests the next round begins 3 % lower.
    pub(super) fn round(
        &mut self,
        mut probe: impl FnMut(f64) -> Result<Measurement>,
    ) -> Result<Measurement> {
        let mut measured = Measurement::default();
        for _ in 0..Self::TRIES {
            measured = probe(self.per_s)?;
            if measured.meets_objective {
                let factor = if measured.is_sustained() { 1.03 } else { 0.97 };
                self.per_s = (self.per_s * factor).min(self.most_per_s);
                break;
            }
            self.per_s *= 0.93;
        }
        Ok(measured)
    }

    /// Measures one round, and returns its goodput if the objective was met.
    pub(super) fn goodput_per_s(
        &mut self,
        probe: impl FnMut(f64) -> Result<Measurement>,
    ) -> Result<Option<f64>> {
        let measured = self.round(probe)?;
        Ok(measured.meets_objective.then_some(measured.goodput_per_s))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Server that answers 1000 requests a second, and meets its objective up to a rate.
    fn server(most_per_s: f64) -> impl FnMut(f64) -> Result<Measurement> {
        move |offered_per_s| {
            let answered_per_s = offered_per_s.min(1_000.0);
            let meets_objective = offered_per_s <= most_per_s;
            let goodput_per_s = if meets_objective { answered_per_s } else { answered_per_s * 0.3 };
            Ok(Measurement {
                offered_per_s,
                answered_per_s,
                goodput_per_s,
                meets_objective,
                ..Measurement::default()
            })
        }
    }

    #[test]
    fn the_capacity_is_found_from_far_below() {
        assert_eq!(capacity(3.0, server(f64::INFINITY)).unwrap(), 1_000.0);
        assert_eq!(capacity(5_000.0, server(f64::INFINITY)).unwrap(), 1_000.0);
        let (mut server, mut probes) = (server(f64::INFINITY), 0);
        let disturbed = |rate| {
            probes += 1;
            server(if probes == 3 { 0.0 } else { rate })
                .map(|m| Measurement { offered_per_s: rate, ..m })
        };
        assert_eq!(capacity(3.0, disturbed).unwrap(), 1_000.0);
    }

    #[test]
    fn a_server_without_a_limit_ends_the_search() {
        let all = |rate| {
            let (offered_per_s, goodput_per_s, meets_objective) = (rate, rate, true);
            let default = Measurement::default();
            Ok(Measurement { offered_per_s, goodput_per_s, meets_objective, ..default })
        };
        assert!(capacity(1.0, all).unwrap() > 1e6);
        assert!(best(1_000.0, 4, all).unwrap().per_s > 1e6);
    }

    #[test]
    fn costly_rejections_are_avoided() {
        // Each rejection costs a third of an answer.
        let mut probes = 0;
        let found = best(1_200.0, 5, |rate: f64| {
            probes += 1;
            let goodput_per_s = rate.min(1_000.0 - (rate - 1_000.0).max(0.0) / 3.0);
            let default = Measurement::default();
            Ok(Measurement { offered_per_s: rate, goodput_per_s, meets_objective: true, ..default })
        });
        let found = found.unwrap();
        assert!((950.0..=1_100.0).contains(&found.per_s), "{found:?}");
        let goodput_per_s = found.measurement.goodput_per_s;
        assert!(goodput_per_s > 970.0 && probes <= 6, "{found:?} after {probes}");
    }

    #[test]
    fn an_underestimated_capacity_is_corrected() {
        let best = best(50.0, 2, server(f64::INFINITY)).unwrap();
        assert_eq!(best.measurement.goodput_per_s, 1_000.0);
    }

    #[test]
    fn a_server_that_fails_under_overload_is_measured_just_below_it() {
        let best = best(1_200.0, 6, server(870.0)).unwrap();
        assert!((820.0..=870.0).contains(&best.per_s), "{best:?}");
    }

    #[test]
    fn a_server_that_never_meets_the_objective_scores_nothing() {
        assert_eq!(best(1_200.0, 4, server(0.0)).unwrap().measurement.score(), 0.0);
    }

    #[test]
    fn the_rate_of_a_capacity_meets_the_objective() {
        let best = from_capacity(1_000.0, 6, server(870.0)).unwrap();
        assert!((820.0..=870.0).contains(&best.per_s), "{best:?}");
        assert_eq!(from_capacity(1_000.0, 2, server(0.0)).unwrap().per_s, 1_000.0);
    }

    #[test]
    fn a_staircase_settles_where_the_objective_is_just_met() {
        let start = best(1_200.0, 6, server(870.0)).unwrap();
        let mut stairs = Staircase::new(&start);
        for _ in 0..20 {
            let measured = stairs.round(server(870.0)).unwrap();
            assert!(measured.meets_objective && measured.goodput_per_s > 750.0, "{measured:?}");
        }
        assert_eq!(stairs.round(server(0.0)).unwrap().score(), 0.0);
    }
}
