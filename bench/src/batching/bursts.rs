//! Bursts: ten times the rate for 200 ms every two seconds. Counts the requests in time during and
//! after them.

use super::budget::Budget;
use super::drive::Completion;
use super::policies::Baseline;
use super::setting::Setting;
use crate::engine_under_test::TestEngine;
use crate::progress::progress;
use anyhow::Result;
use skysail_policy::simulate::Arrivals;
use std::io::Write;
use std::time::Duration;

/// Rate between the bursts, relative to the capacity.
const BASE_SHARE: f64 = 0.2;

/// Rate in a burst, relative to the rate outside.
const TIMES: f64 = 10.0;
/// Length of a burst, which ends each period.
const BURST: Duration = Duration::from_millis(200);
/// Time from one burst to the next.
const PERIOD: Duration = Duration::from_millis(2_000);

/// Prints the head of the table.
pub(super) fn head(out: &mut impl Write) -> Result<()> {
    writeln!(
        out,
        "\n## Bursts: {BASE_SHARE} of the capacity, and 10 times that for 200 ms every 2 s\n\n\
         | model | setting | requests | in time % | of the bursts % | quiet | missed | target | |\n\
         |---|---|---:|---:|---:|---:|---:|---:|---|"
    )?;
    Ok(())
}

/// Measures a model under some settings and prints a row for each.
pub(super) fn rows(
    out: &mut impl Write,
    engine: &TestEngine,
    budget: &Budget,
    baseline: &Baseline,
    settings: &[Setting],
) -> Result<()> {
    let per_s = BASE_SHARE * baseline.capacity_per_s;
    let us = |time: Duration| time.as_micros() as u64;
    let bursts = Arrivals::Bursts { per_s, times: TIMES, on_us: us(BURST), period_us: us(PERIOD) };
    for &setting in settings {
        progress(format_args!("{}: bursts, {setting}", baseline.model.name));
        let model = baseline.load(engine, setting)?;
        model.measure(baseline.capacity_per_s, budget.settle, 2)?;
        let run = model.send(&bursts, budget.long, 3)?;
        let counts = Counts::of(&run.completions, baseline.objective);
        let Counts { all, quiet, bursts } = counts;
        let verdict = if quiet.missed() == 0 { "reached" } else { "MISSED" };
        writeln!(
            out,
            "| {} | {setting} | {} | {:.1} | {:.1} | {} | {} | 0 | {verdict} |",
            baseline.model.name,
            all.requests,
            all.percent(),
            bursts.percent(),
            quiet.requests,
            quiet.missed(),
        )?;
        out.flush()?;
    }
    Ok(())
}

/// True if `at` is outside a burst, and at least `after` behind the last one.
fn is_quiet(at: Duration, after: Duration) -> bool {
    let place = Duration::from_nanos((at.as_nanos() % PERIOD.as_nanos()) as u64);
    place < PERIOD - BURST && (at < PERIOD || place >= after)
}

/// Number of requests, and of those in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    requests: usize,
    in_time: usize,
}

impl Count {
    fn add(&mut self, in_time: bool) {
        self.requests += 1;
        self.in_time += usize::from(in_time);
    }

    fn missed(self) -> usize {
        self.requests - self.in_time
    }

    fn percent(self) -> f64 {
        self.in_time as f64 / self.requests.max(1) as f64 * 1e2
    }
}

/// Requests by their scheduled time.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    all: Count,
    /// Requests from an objective after the end of a burst to the next one. The backlog of the
    /// burst is answered or rejected by then.
    quiet: Count,
    bursts: Count,
}

impl Counts {
    fn of(completions: &[Completion], objective: Duration) -> Self {
        let mut counts = Self::default();
        for completion in completions {
            let in_time = completion.outcome.is_answered() && completion.latency <= objective;
            counts.all.add(in_time);
            if is_quiet(completion.at, objective) {
                counts.quiet.add(in_time);
            } else if !is_quiet(completion.at, Duration::ZERO) {
                counts.bursts.add(in_time);
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::super::drive::Outcome;
    use super::*;

    #[test]
    fn quiet_begins_some_time_after_a_burst() {
        let after = Duration::from_millis(20);
        let is_quiet = |ms| is_quiet(Duration::from_millis(ms), after);
        assert!(is_quiet(0) && is_quiet(1_799) && is_quiet(2_020) && is_quiet(3_799));
        assert!(!is_quiet(1_800) && !is_quiet(1_999) && !is_quiet(2_019) && !is_quiet(3_800));
    }

    #[test]
    fn the_backlog_of_a_burst_is_neither_quiet_nor_of_the_burst() {
        let completion = |at_ms, latency_ms, outcome| Completion {
            at: Duration::from_millis(at_ms),
            latency: Duration::from_millis(latency_ms),
            outcome,
        };
        let answered = Outcome::Answered { batch_rows: 4 };
        let completions = [
            completion(100, 5, answered),
            completion(1_850, 1, Outcome::Rejected),
            completion(1_860, 30, answered),
            completion(1_870, 20, answered),
            completion(2_010, 1, Outcome::Expired),
            completion(2_020, 1, Outcome::Rejected),
        ];
        let counts = Counts::of(&completions, Duration::from_millis(20));
        assert_eq!(counts.all, Count { requests: 6, in_time: 2 });
        assert_eq!(counts.bursts, Count { requests: 3, in_time: 1 });
        assert_eq!((counts.quiet.requests, counts.quiet.missed()), (2, 1));
    }
}
