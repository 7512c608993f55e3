//! Ten times as many requests for 200 ms, every two seconds: who is answered in time, in the
//! bursts and after them.

use super::arrivals::{Bursts, Traffic};
use super::drive::Outcome;
use super::house::House;
use super::pace::Pace;
use super::policies::Look;
use super::progress;
use super::setting::Setting;
use anyhow::Result;
use std::io::Write;
use std::time::Duration;

/// Part of the capacity that is asked for between the bursts.
const BASE_SHARE: f64 = 0.2;

const BURSTS: Bursts = Bursts {
    times: 10.0,
    length: Duration::from_millis(200),
    period: Duration::from_millis(2_000),
};

/// Prints the head of the table.
pub(super) fn head(out: &mut impl Write) -> Result<()> {
    writeln!(
        out,
        "\n## Bursts: {BASE_SHARE} of the capacity, and 10 times that for 200 ms every 2 s\n\n\
         | model | setting | requests | in time % | of the bursts % | quiet | missed | bar | |\n\
         |---|---|---:|---:|---:|---:|---:|---:|---|"
    )?;
    Ok(())
}

/// Measures a model under some settings and prints a row for each.
pub(super) fn rows(
    out: &mut impl Write,
    house: &House,
    pace: &Pace,
    look: &Look,
    settings: &[Setting],
) -> Result<()> {
    let per_s = BASE_SHARE * look.capacity_per_s;
    let traffic = Traffic { per_s, bursts: Some(BURSTS) };
    for &setting in settings {
        progress(format_args!("{}: bursts, {setting}", look.subject.name));
        let guest = look.load(house, setting)?;
        guest.measure(look.capacity_per_s, pace.settle, 2)?;
        let run = guest.ask(traffic, pace.long, 3)?;
        let counts = Counts::of(&run.outcomes, look.objective);
        let Counts { all, quiet, bursts } = counts;
        let verdict = if quiet.missed() == 0 { "reached" } else { "MISSED" };
        writeln!(
            out,
            "| {} | {setting} | {} | {:.1} | {:.1} | {} | {} | 0 | {verdict} |",
            look.subject.name,
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

/// Requests, and those of them that were answered in time.
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

/// Requests by when they were meant to arrive.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    all: Count,
    /// From an objective after the end of a burst to the next: what the burst has left behind is
    /// answered or refused by then.
    quiet: Count,
    bursts: Count,
}

impl Counts {
    fn of(outcomes: &[Outcome], objective: Duration) -> Self {
        let mut counts = Self::default();
        for outcome in outcomes {
            let in_time = outcome.fate.is_answered() && outcome.latency <= objective;
            counts.all.add(in_time);
            if BURSTS.is_quiet(outcome.at, objective) {
                counts.quiet.add(in_time);
            } else if !BURSTS.is_quiet(outcome.at, Duration::ZERO) {
                counts.bursts.add(in_time);
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::super::drive::Fate;
    use super::*;

    #[test]
    fn the_backlog_of_a_burst_is_neither_quiet_nor_of_the_burst() {
        let outcome = |at_ms, latency_ms, fate| Outcome {
            at: Duration::from_millis(at_ms),
            latency: Duration::from_millis(latency_ms),
            fate,
        };
        let answered = Fate::Answered { batch_rows: 4 };
        let outcomes = [
            outcome(100, 5, answered),
            outcome(1_850, 1, Fate::Refused),
            outcome(1_860, 30, answered),
            outcome(1_870, 20, answered),
            outcome(2_010, 1, Fate::GivenUp),
            outcome(2_020, 1, Fate::Refused),
        ];
        let counts = Counts::of(&outcomes, Duration::from_millis(20));
        assert_eq!(counts.all, Count { requests: 6, in_time: 2 });
        assert_eq!(counts.bursts, Count { requests: 3, in_time: 1 });
        assert_eq!((counts.quiet.requests, counts.quiet.missed()), (2, 1));
    }
}
