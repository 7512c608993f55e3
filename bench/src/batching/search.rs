//! Finds offered rates: where a server is saturated, and where it makes the most of its objective.

use super::seen::Seen;
use anyhow::Result;

/// A search that goes on for longer asks a server without a limit.
const STEPS_MAX: usize = 24;

/// Part of a capacity at which the search for its goodput begins.
const BEGIN_SHARE: f64 = 1.1;

/// A rate at which few have to be refused, in what was answered when many were.
const FULL: f64 = 1.03;

/// A rate at which the objective was kept, or the last that was tried when there is none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Best {
    pub(super) rate_per_s: f64,
    pub(super) seen: Seen,
}

impl Best {
    /// What was answered in time, or the rate where the objective was not kept.
    pub(super) fn goodput_per_s(&self) -> f64 {
        if self.seen.keeps { self.seen.goodput_per_s } else { self.rate_per_s }
    }
}

/// The most requests a second that are answered in time when the rate is doubled until they no
/// longer grow with it, twice at the same rate: a hiccup is no limit.
pub(super) fn capacity(
    start_per_s: f64,
    mut probe: impl FnMut(f64) -> Result<Seen>,
) -> Result<f64> {
    let mut rate = start_per_s;
    let mut most = 0.0_f64;
    let mut behind = 0;
    for _ in 0..STEPS_MAX {
        let seen = probe(rate)?;
        most = most.max(seen.goodput_per_s);
        if seen.keeps_up() {
            behind = 0;
            rate *= 2.0;
        } else if behind == 1 {
            break;
        } else {
            behind += 1;
        }
    }
    Ok(most.max(1.0))
}

/// The rate that brings the most answers in time while the objective is kept, in so many tries;
/// those that everybody is answered in do not count, as the rate was no load. It begins above the
/// capacity. Where the objective is kept by refusing many, it goes on where few would have to be,
/// as refusals take time, too; where it is not kept, below what was answered, and then between what
/// was kept and what was not.
pub(super) fn best(
    start_per_s: f64,
    tries: usize,
    mut probe: impl FnMut(f64) -> Result<Seen>,
) -> Result<Best> {
    let mut rate = start_per_s;
    let (mut kept, mut broken): (Option<Best>, f64) = (None, f64::INFINITY);
    // The lowest rate at which many were refused.
    let mut enough = f64::INFINITY;
    let mut last = Best { rate_per_s: rate, seen: Seen::default() };
    let (mut tried, mut steps) = (0, 0);
    while tried < tries && steps < STEPS_MAX {
        let seen = probe(rate)?;
        steps += 1;
        tried += usize::from(!(seen.keeps && seen.keeps_up()));
        last = Best { rate_per_s: rate, seen };
        if seen.keeps && kept.is_none_or(|kept| kept.seen.goodput_per_s < seen.goodput_per_s) {
            kept = Some(last);
        }
        if !seen.keeps {
            broken = broken.min(rate);
        }
        if !seen.keeps_up() {
            enough = enough.min(rate);
        }
        let most = broken.min(enough);
        rate = match kept {
            None => (seen.answered_per_s * 0.95).clamp(rate * 0.4, rate * 0.85),
            Some(kept) if kept.rate_per_s >= enough => kept.seen.goodput_per_s * FULL,
            Some(kept) if most.is_finite() => (kept.rate_per_s * most).sqrt(),
            Some(kept) => kept.rate_per_s * 1.5,
        };
        let is_known = (rate / last.rate_per_s - 1.0).abs() < 0.01;
        if rate >= most * 0.97 || is_known {
            break;
        }
    }
    Ok(kept.unwrap_or(last))
}

/// The best rate above this `capacity`, in so many tries; the capacity itself where no rate kept
/// the objective.
pub(super) fn from_capacity(
    capacity_per_s: f64,
    tries: usize,
    probe: impl FnMut(f64) -> Result<Seen>,
) -> Result<Best> {
    let best = best(BEGIN_SHARE * capacity_per_s, tries, probe)?;
    Ok(if best.seen.keeps { best } else { Best { rate_per_s: capacity_per_s, ..best } })
}

/// A contender of a comparison in rounds. It keeps to the rate that it can just answer within its
/// objective, refusing few, and follows the machine up and down.
#[derive(Clone, Copy, Debug)]
pub(super) struct Staircase {
    rate_per_s: f64,
    /// The highest rate that is ever tried.
    max_per_s: f64,
}

impl Staircase {
    /// Tries in a round before it counts as nothing.
    const TRIES: usize = 3;

    pub(super) fn new(best: &Best) -> Self {
        Self { rate_per_s: best.rate_per_s, max_per_s: best.rate_per_s * 1.3 }
    }

    /// One round: the first rate from the present one downwards at which the objective is kept,
    /// or the last. Where many are refused the next round begins a step lower.
    pub(super) fn round(&mut self, mut probe: impl FnMut(f64) -> Result<Seen>) -> Result<Seen> {
        let mut seen = Seen::default();
        for _ in 0..Self::TRIES {
            seen = probe(self.rate_per_s)?;
            if seen.keeps {
                let times = if seen.keeps_up() { 1.03 } else { 0.97 };
                self.rate_per_s = (self.rate_per_s * times).min(self.max_per_s);
                break;
            }
            self.rate_per_s *= 0.93;
        }
        Ok(seen)
    }

    /// One round, and what was answered in time if the objective was kept.
    pub(super) fn goodput_per_s(
        &mut self,
        probe: impl FnMut(f64) -> Result<Seen>,
    ) -> Result<Option<f64>> {
        let seen = self.round(probe)?;
        Ok(seen.keeps.then_some(seen.goodput_per_s))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers 1000 requests a second. It keeps its objective when it is asked no
    /// more than `keeps_to`.
    fn server(keeps_to: f64) -> impl FnMut(f64) -> Result<Seen> {
        move |rate| {
            let answered = rate.min(1_000.0);
            let keeps = rate <= keeps_to;
            let goodput_per_s = if keeps { answered } else { answered * 0.3 };
            let (offered_per_s, answered_per_s) = (rate, answered);
            let seen = Seen { offered_per_s, answered_per_s, goodput_per_s, ..Seen::default() };
            Ok(Seen { keeps, ..seen })
        }
    }

    #[test]
    fn the_capacity_is_found_from_far_below() {
        assert_eq!(capacity(3.0, server(f64::INFINITY)).unwrap(), 1_000.0);
        assert_eq!(capacity(5_000.0, server(f64::INFINITY)).unwrap(), 1_000.0);
        let (mut server, mut probes) = (server(f64::INFINITY), 0);
        let hiccup = |rate| {
            probes += 1;
            server(if probes == 3 { 0.0 } else { rate }).map(|s| Seen { offered_per_s: rate, ..s })
        };
        assert_eq!(capacity(3.0, hiccup).unwrap(), 1_000.0);
    }

    #[test]
    fn a_server_without_a_limit_ends_the_search() {
        let all = |rate| {
            let seen = Seen { offered_per_s: rate, goodput_per_s: rate, ..Seen::default() };
            Ok(Seen { keeps: true, ..seen })
        };
        assert!(capacity(1.0, all).unwrap() > 1e6);
        assert!(best(1_000.0, 4, all).unwrap().rate_per_s > 1e6);
    }

    #[test]
    fn whom_refusing_costs_something_is_measured_where_it_need_not() {
        // Each refusal costs a third of an answer.
        let mut probes = 0;
        let found = best(1_200.0, 5, |rate: f64| {
            probes += 1;
            let goodput_per_s = rate.min(1_000.0 - (rate - 1_000.0).max(0.0) / 3.0);
            let seen = Seen { offered_per_s: rate, goodput_per_s, ..Seen::default() };
            Ok(Seen { keeps: true, ..seen })
        });
        let found = found.unwrap();
        assert!((950.0..=1_100.0).contains(&found.rate_per_s), "{found:?}");
        assert!(found.seen.goodput_per_s > 970.0 && probes <= 6, "{found:?} after {probes}");
    }

    #[test]
    fn a_capacity_that_was_underestimated_is_made_up_for() {
        assert_eq!(best(50.0, 2, server(f64::INFINITY)).unwrap().seen.goodput_per_s, 1_000.0);
    }

    #[test]
    fn who_breaks_under_overload_is_measured_just_below_it() {
        let best = best(1_200.0, 6, server(870.0)).unwrap();
        assert!((820.0..=870.0).contains(&best.rate_per_s), "{best:?}");
    }

    #[test]
    fn who_never_keeps_the_objective_scores_nothing() {
        assert_eq!(best(1_200.0, 4, server(0.0)).unwrap().seen.score(), 0.0);
    }

    #[test]
    fn the_rate_of_a_capacity_is_one_with_the_objective_kept() {
        let best = from_capacity(1_000.0, 6, server(870.0)).unwrap();
        assert!((820.0..=870.0).contains(&best.rate_per_s), "{best:?}");
        assert_eq!(from_capacity(1_000.0, 2, server(0.0)).unwrap().rate_per_s, 1_000.0);
    }

    #[test]
    fn a_staircase_settles_where_the_objective_is_just_kept() {
        let start = best(1_200.0, 6, server(870.0)).unwrap();
        let mut stairs = Staircase::new(&start);
        for _ in 0..20 {
            let seen = stairs.round(server(870.0)).unwrap();
            assert!(seen.keeps && seen.goodput_per_s > 750.0, "{seen:?}");
        }
        assert_eq!(stairs.round(server(0.0)).unwrap().score(), 0.0);
    }
}
