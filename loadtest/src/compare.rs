//! Comparison of two runs: are they further apart than similar runs are by chance?

use crate::bootstrap::ratio_95;
use crate::report::{Interval, Report, format_us};
use serde::Serialize;
use std::fmt;

/// Fewest intervals from which their variation is known.
const INTERVALS_MIN: usize = 5;

/// Comparison of two runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// First and second run.
    pub runs: [ComparedRun; 2],
    /// Reasons why the runs are hard to compare.
    pub warnings: Vec<String>,
    /// Figures of both runs.
    pub figures: Vec<Figure>,
}

/// Run of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComparedRun {
    /// Name of the run in the comparison.
    pub name: String,
    /// Address of the server.
    pub url: String,
    /// Name of the model.
    pub model: String,
    /// Protocol of the requests.
    pub protocol: String,
    /// Number of measured requests.
    pub requests: u64,
}

/// Figure of both runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// Name of the figure.
    pub name: &'static str,
    /// `requests/s`, `us` or a `share`.
    pub unit: &'static str,
    /// Value of the first run.
    pub first: f64,
    /// Value of the second run.
    pub second: f64,
    /// Second value over the first; `None` if the first is 0.
    pub ratio: Option<f64>,
    /// Range of the ratio with 95 % confidence, from the intervals of both runs; `None` if there
    /// are too few.
    pub ratio_95: Option<(f64, f64)>,
    /// True if the difference is more than chance; `None` if unknown.
    pub differs: Option<bool>,
}

/// Compares two runs; `names` are often the names of their files.
pub fn compare(names: [&str; 2], first: &Report, second: &Report) -> Comparison {
    let run = |name: &str, report: &Report| ComparedRun {
        name: name.to_owned(),
        url: report.url.clone(),
        model: report.model.clone(),
        protocol: report.protocol.clone(),
        requests: report.requests,
    };
    Comparison {
        runs: [run(names[0], first), run(names[1], second)],
        warnings: warnings(names, first, second),
        figures: figures(first, second),
    }
}

fn warnings(names: [&str; 2], first: &Report, second: &Report) -> Vec<String> {
    let mut warnings = Vec::new();
    for (name, report) in names.into_iter().zip([first, second]) {
        if let Some(reason) = &report.invalid_because {
            warnings.push(format!("{name} is not valid: {reason}"));
        }
        let count = report.whole_intervals().count();
        if count < INTERVALS_MIN {
            warnings.push(format!(
                "{name} is too short to say what is chance: {count} intervals, not {INTERVALS_MIN}"
            ));
        }
    }
    let mut differ = |what: &str, first: String, second: String| {
        if first != second {
            warnings.push(format!("the runs differ in {what}: {first} and {second}"));
        }
    };
    differ("model", first.model.clone(), second.model.clone());
    differ("protocol", first.protocol.clone(), second.protocol.clone());
    differ("arrival", arrival(first), arrival(second));
    differ("connections", first.connections.to_string(), second.connections.to_string());
    differ("rows", first.rows_per_request.to_string(), second.rows_per_request.to_string());
    warnings
}

fn arrival(report: &Report) -> String {
    match (&report.pattern, report.target_requests_per_s) {
        (Some(pattern), Some(rate)) if pattern == "constant" => format!("{rate}/s"),
        (Some(pattern), _) => pattern.clone(),
        (None, _) => report.arrival.clone(),
    }
}

fn figures(first: &Report, second: &Report) -> Vec<Figure> {
    let share = |report: &Report| Some(report.failed as f64 / report.requests.max(1) as f64);
    let failed = |i: &Interval| {
        let all = i.answered + i.failed;
        (all > 0).then(|| i.failed as f64 / all as f64)
    };
    let rate = |i: &Interval| Some(i.requests_per_s());
    let none = |_: &Interval| None;
    let pair = |of: fn(&Report) -> Option<f64>| (of(first), of(second));
    let both = (first, second);
    [
        figure("throughput", "requests/s", pair(|r| Some(r.requests_per_s)), both, rate),
        figure("goodput", "requests/s", pair(|r| r.goodput_requests_per_s), both, |i| {
            Some(i.in_time as f64 / i.length_s)
        }),
        figure("p50", "us", pair(|r| r.latency_us_p50), both, |i| i.latency_us_p50),
        figure("p90", "us", pair(|r| r.latency_us_p90), both, none),
        figure("p99", "us", pair(|r| r.latency_us_p99), both, |i| i.latency_us_p99),
        figure("p99.9", "us", pair(|r| r.latency_us_p999), both, none),
        figure("max", "us", pair(|r| r.latency_us_max), both, none),
        figure("failed", "share", (share(first), share(second)), both, failed),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Makes a figure if both runs have it; `of` is the same figure of an interval.
fn figure(
    name: &'static str,
    unit: &'static str,
    values: (Option<f64>, Option<f64>),
    reports: (&Report, &Report),
    of: impl Fn(&Interval) -> Option<f64>,
) -> Option<Figure> {
    let (first, second) = (values.0?, values.1?);
    let values = |report: &Report| report.whole_intervals().filter_map(&of).collect::<Vec<f64>>();
    let (a, b) = (values(reports.0), values(reports.1));
    let known = a.len().min(b.len()) >= INTERVALS_MIN;
    let ratio_95 = known.then(|| ratio_95(&a, &b)).flatten();
    Some(Figure {
        name,
        unit,
        first,
        second,
        ratio: (first > 0.0).then(|| second / first),
        ratio_95,
        differs: ratio_95.map(|(least, most)| least > 1.0 || most < 1.0),
    })
}

impl fmt::Display for Comparison {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (mark, run) in ["A", "B"].iter().zip(&self.runs) {
            let ComparedRun { name, url, model, protocol, requests } = run;
            writeln!(to, "{mark}  {name}: {model} at {url}, {protocol}, {requests} requests")?;
        }
        writeln!(to, "\n{:<12}{:>12}{:>12}{:>9}  95 % within", "", "A", "B", "B / A")?;
        for figure in &self.figures {
            figure.write(to)?;
        }
        for warning in &self.warnings {
            writeln!(to, "note: {warning}")?;
        }
        Ok(())
    }
}

impl Figure {
    fn write(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |value: f64| match self.unit {
            "us" => format_us(value),
            "share" => format!("{:.2} %", value * 1e2),
            _ => format!("{value:.1}/s"),
        };
        let ratio = self.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"));
        let (first, second) = (value(self.first), value(self.second));
        write!(to, "{:<12}{first:>12}{second:>12}{ratio:>9}", self.name)?;
        if let Some((least, most)) = self.ratio_95 {
            let says = if self.differs == Some(true) { "differs" } else { "within the noise" };
            write!(to, "  {least:.3} to {most:.3}: {says}")?;
        }
        writeln!(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Report of a run with a rate and a p99 that vary a little.
    fn report(seconds: u64, rate: f64, p99_us: f64) -> Report {
        let wave = |second: u64, depth: f64| 1.0 + depth * ((second * 7 % 10) as f64 - 4.5) / 4.5;
        let interval = |second: u64| Interval {
            end_s: (second + 1) as f64,
            length_s: 1.0,
            answered: (rate * wave(second, 0.05)) as u64,
            latency_us_p50: Some(p99_us / 4.0 * wave(second, 0.02)),
            latency_us_p99: Some(p99_us * wave(second, 0.2)),
            ..Interval::default()
        };
        Report {
            model: "m".into(),
            elapsed_s: seconds as f64,
            requests_per_s: rate,
            requests: 1000,
            latency_us_p50: Some(p99_us / 4.0),
            latency_us_p99: Some(p99_us),
            intervals: (0..seconds).map(interval).collect(),
            ..Report::default()
        }
    }

    fn figure_of<'a>(comparison: &'a Comparison, name: &str) -> &'a Figure {
        comparison.figures.iter().find(|figure| figure.name == name).unwrap()
    }

    #[test]
    fn a_large_difference_is_distinguished_from_noise() {
        let found = compare(["a", "b"], &report(20, 1000.0, 800.0), &report(20, 1200.0, 810.0));
        let throughput = figure_of(&found, "throughput");
        assert_eq!((throughput.ratio, throughput.differs), (Some(1.2), Some(true)));
        let (least, most) = throughput.ratio_95.unwrap();
        assert!(1.1 < least && least < 1.2 && 1.2 < most && most < 1.3, "{least} {most}");
        assert_eq!(figure_of(&found, "p99").differs, Some(false));
        let text = found.to_string();
        assert!(text.contains("differs\n") && text.contains("within the noise\n"), "{text}");
        assert!(found.warnings.is_empty(), "{text}");
    }

    #[test]
    fn the_same_run_does_not_differ_from_itself() {
        let run = report(20, 1000.0, 800.0);
        let found = compare(["a", "b"], &run, &run);
        assert!(found.figures.iter().all(|figure| figure.differs != Some(true)), "{found}");
    }

    #[test]
    fn a_slow_answer_after_the_run_leaves_it_comparable() {
        let mut late = report(20, 1200.0, 800.0);
        let slow = Interval { end_s: 50.0, length_s: 30.0, answered: 1, ..Interval::default() };
        late.intervals.push(slow);
        let found = compare(["a", "b"], &report(20, 1000.0, 800.0), &late);
        assert!(found.warnings.is_empty(), "{found}");
        assert_eq!(figure_of(&found, "throughput").differs, Some(true));
    }

    #[test]
    fn a_short_run_is_not_judged() {
        let found = compare(["a", "b"], &report(4, 1000.0, 800.0), &report(20, 2000.0, 800.0));
        assert_eq!(figure_of(&found, "throughput").differs, None);
        assert!(found.warnings[0].starts_with("a is too short"), "{:?}", found.warnings);
    }

    #[test]
    fn differences_between_the_runs_are_reported() {
        let invalid = Report {
            model: "other".into(),
            invalid_because: Some("it was late".into()),
            ..report(20, 1000.0, 800.0)
        };
        let found = compare(["a", "b"], &report(20, 1000.0, 800.0), &invalid);
        assert_eq!(found.warnings[0], "b is not valid: it was late");
        assert_eq!(found.warnings[1], "the runs differ in model: m and other");
    }
}
