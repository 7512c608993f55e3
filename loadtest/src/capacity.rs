//! Capacity of a server: the highest rate at which it meets an objective, and its behaviour at
//! other rates.

pub mod bracket;
pub mod level;
pub mod measure;
pub mod search;
mod show;

use crate::arrival::{self, Arrival};
use crate::confidence::Bounds;
use crate::profile::{FORMAT, Level, Machine, Objective, Profile};
use crate::server_settings::Settings;
use crate::{Load, run, tail};
use level::Window;
use measure::Conditions;
use search::{Goal, Next, Point, Search, Verdict};
use serde::Serialize;
use std::time::Duration;

/// Attempts to measure a window in which the load generator is the bottleneck.
const ATTEMPTS_MAX: usize = 3;
/// Windows after which enough requests came to prove that an objective is met.
const WINDOWS_ENOUGH: f64 = 3.0;
/// Duration for which one request at a time is sent.
const SEQUENTIAL_DURATION: Duration = Duration::from_secs(1);
/// Longest window.
const WINDOW_MAX: Duration = Duration::from_secs(60);
/// Time limit for reading the server's settings.
const SETTINGS_MAX: Duration = Duration::from_secs(5);
/// Points of the curve, as shares of the capacity.
const CURVE: [f64; 7] = [0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0];
/// Windows of each point of the curve.
const CURVE_WINDOWS: usize = 3;
/// Factor within which a measured rate counts as a point of the curve.
const NEARBY: f64 = 1.08;
/// Lowest rate that is tried, as a share of the rate of one request at a time.
const LEAST_SHARE: f64 = 0.01;

/// Options of a search.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Objective to meet.
    pub objective: Objective,
    /// Greatest relative distance of the result below the true capacity.
    pub precision: f64,
    /// Shortest window.
    pub window: Duration,
    /// Most windows of one rate.
    pub windows_max: usize,
    /// First rate, in requests a second. The default is half the rate of one request at a time.
    pub from_per_s: Option<f64>,
    /// Highest rate that is tried, in requests a second.
    pub most_per_s: f64,
    /// True if further rates are measured for the curve.
    pub curve: bool,
    /// Seed of the send times.
    pub seed: u64,
}

/// Reason why no capacity was found.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The load was not sent.
    #[error(transparent)]
    Run(Box<crate::Error>),
    /// Single requests take longer than the objective.
    #[error(
        "the objective of {objective_ms} ms cannot be met: one request at a time takes \
         {alone_ms:.3} ms (the fastest of ten {least_ms:.3} ms)"
    )]
    TooSlowSequentially {
        /// Objective, in milliseconds.
        objective_ms: f64,
        /// Median latency of one request at a time.
        alone_ms: f64,
        /// 10th percentile of the same latency.
        least_ms: f64,
    },
    /// The lowest rate does not meet the objective.
    #[error(
        "the objective of {objective_ms} ms for {percentile} % cannot be met: at {per_s:.1} requests/s, \
         the lowest rate tried, {share:.2} % were in time and p{percentile} was {latency_ms:.3} ms"
    )]
    NeverMet {
        /// Objective, in milliseconds.
        objective_ms: f64,
        /// Percentile of the objective.
        percentile: f64,
        /// Lowest rate, in requests a second.
        per_s: f64,
        /// Percentage of requests in time at that rate.
        share: f64,
        /// Latency at the objective's percentile and that rate.
        latency_ms: f64,
    },
    /// The load generator could not send more.
    #[error("at {per_s:.1} requests/s {reason}{}", at_least(*.met_per_s))]
    Generator {
        /// Rate, in requests a second.
        per_s: f64,
        /// Description of the bottleneck.
        reason: String,
        /// Highest rate known to meet the objective, if any.
        met_per_s: Option<f64>,
    },
    /// No request was answered while one at a time was sent.
    #[error("no request was answered: {0}")]
    NoAnswer(String),
}

impl From<crate::Error> for Error {
    fn from(error: crate::Error) -> Self {
        Self::Run(Box::new(error))
    }
}

fn at_least(met_per_s: Option<f64>) -> String {
    met_per_s
        .map_or(String::new(), |per_s| format!("; the capacity is at least {per_s:.1} requests/s"))
}

/// Result of a search.
#[derive(Clone, Debug, Serialize)]
pub struct Capacity {
    /// Profile of all measured rates.
    #[serde(flatten)]
    pub profile: Profile,
    /// Lowest rate that does not meet the objective; `None` if all rates meet it.
    pub not_met_per_s: Option<f64>,
    /// Rates of the search, in its order.
    pub search: Vec<SearchedRate>,
}

/// Rate of the search, with its verdict.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SearchedRate {
    /// Requests a second.
    pub per_s: f64,
    /// Number of windows.
    pub windows: usize,
    /// `meets`, `misses` or `unclear`.
    pub verdict: &'static str,
    /// Share of the requests in time.
    pub in_time: f64,
    /// Lower confidence bound of that share.
    pub in_time_low: f64,
    /// Upper confidence bound of that share.
    pub in_time_high: f64,
}

/// Progress of a search.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// A window begins.
    Started {
        /// Requests a second.
        per_s: f64,
        /// Length of the window.
        duration: Duration,
    },
    /// A rate was evaluated after a window.
    Evaluated(&'a Point),
}

/// Finds the capacity.
///
/// # Errors
/// Fails if no rate meets the objective, or it cannot be measured.
pub async fn find(
    conditions: &Conditions<'_>,
    options: &Options,
    mut observe: impl FnMut(Progress<'_>),
) -> Result<Capacity, Error> {
    let sequential_per_s = sequential_rate(conditions, options).await?;
    let goal = options.goal(sequential_per_s);
    let mut measured = Measurements { conditions, options, windows: Vec::new() };
    let mut search = Search::new(goal, options.from_per_s.unwrap_or(sequential_per_s / 2.0));
    let capacity_per_s = loop {
        match search.next() {
            Next::Measure { per_s } => {
                let window = measured.window(per_s, &search, &mut observe).await?;
                search.record(per_s, &window.blocks());
                search
                    .points()
                    .last()
                    .into_iter()
                    .for_each(|point| observe(Progress::Evaluated(point)));
            }
            Next::Found { per_s } | Next::MetAtMaximum { per_s } => break per_s,
            Next::NeverMet { per_s } => return Err(measured.never_met(per_s)),
        }
    };
    if options.curve {
        measured.fill_curve(capacity_per_s, &search, &mut observe).await?;
    }
    let profile = measured.profile(capacity_per_s).await;
    Ok(Capacity { profile, not_met_per_s: not_met(&search), search: searched(&search) })
}

impl Options {
    fn goal(&self, sequential_per_s: f64) -> Goal {
        Goal {
            share: self.objective.percentile / 100.0,
            confidence: self.objective.confidence / 100.0,
            precision: self.precision,
            windows_max: self.windows_max,
            least_per_s: (sequential_per_s * LEAST_SHARE).min(self.most_per_s),
            most_per_s: self.most_per_s,
        }
    }

    /// Length of a window: long enough that a few windows without a late request prove the
    /// objective.
    fn window(&self, per_s: f64) -> Duration {
        let Objective { percentile, confidence, .. } = self.objective;
        let error = (1.0 - confidence / 100.0) / self.windows_max.max(1) as f64;
        let requests = error.ln() / (percentile / 100.0).ln();
        let enough_s = (requests / WINDOWS_ENOUGH / per_s).min(WINDOW_MAX.as_secs_f64());
        self.window.max(Duration::from_secs_f64(enough_s))
    }
}

/// Measures the rate of one request at a time, in requests a second.
async fn sequential_rate(conditions: &Conditions<'_>, options: &Options) -> Result<f64, Error> {
    let duration = options.window.min(SEQUENTIAL_DURATION);
    let window = arrival::Window { warm_up: Duration::ZERO, duration };
    let load = Load {
        arrival: Arrival::Closed,
        connections: 1,
        threads: 1,
        busy_poll: false,
        window,
        timeout: conditions.timeout.max(Duration::from_secs(10)),
        objective: Some(conditions.objective),
    };
    let report = run(conditions.prepared, &load, std::future::pending(), |_| {}).await?;
    let (Some(alone_us), Some(least_us)) = (report.latency_us(0.5), report.latency_us(0.1)) else {
        let first = report.failures.first();
        return Err(Error::NoAnswer(first.map_or_else(String::new, |first| first.message.clone())));
    };
    let objective_ms = options.objective.ms;
    if alone_us > objective_ms * 1e3 {
        let (alone_ms, least_ms) = (alone_us / 1e3, least_us / 1e3);
        return Err(Error::TooSlowSequentially { objective_ms, alone_ms, least_ms });
    }
    Ok(1e6 / alone_us)
}

/// All windows so far.
struct Measurements<'a> {
    conditions: &'a Conditions<'a>,
    options: &'a Options,
    windows: Vec<(f64, Window)>,
}

impl Measurements<'_> {
    /// Measures one more window. Repeats it if the objective was missed while the generator was the
    /// bottleneck.
    async fn window(
        &mut self,
        per_s: f64,
        search: &Search,
        observe: &mut impl FnMut(Progress<'_>),
    ) -> Result<Window, Error> {
        let duration = self.options.window(per_s);
        let mut reason = String::new();
        for attempt in 0..ATTEMPTS_MAX {
            observe(Progress::Started { per_s, duration });
            let seed = self.options.seed + 1_000 * self.windows.len() as u64 + attempt as u64;
            let window = self.conditions.poisson(per_s, duration, seed).await?;
            match window.report.invalid_because.clone() {
                Some(because) if !self.meets_objective(&window) => reason = because,
                _ => {
                    self.windows.push((per_s, window.clone()));
                    return Ok(window);
                }
            }
        }
        let kept = search.points().iter().filter(|point| point.verdict == Verdict::Meets);
        let met_per_s = kept.map(|point| point.per_s).max_by(f64::total_cmp);
        Err(Error::Generator { per_s, reason, met_per_s })
    }

    /// True if the window itself meets the objective. The generator's delay counts as latency, so
    /// the server does at least as well.
    fn meets_objective(&self, window: &Window) -> bool {
        let in_time = window.report.in_time.unwrap_or(0) as f64;
        in_time >= self.options.objective.percentile / 100.0 * window.report.requests as f64
    }

    /// Measures the points of the curve that the search did not need, in rounds. A machine that
    /// changes meanwhile affects all of them alike.
    async fn fill_curve(
        &mut self,
        capacity_per_s: f64,
        search: &Search,
        observe: &mut impl FnMut(Progress<'_>),
    ) -> Result<(), Error> {
        let rates: Vec<f64> =
            CURVE.iter().map(|share| self.nearby_rate(share * capacity_per_s)).collect();
        for round in 1..=CURVE_WINDOWS {
            for &per_s in &rates {
                if self.windows.iter().filter(|(known, _)| *known == per_s).count() < round {
                    self.window(per_s, search, observe).await?;
                }
            }
        }
        Ok(())
    }

    /// A measured rate near this one, or this one.
    fn nearby_rate(&self, wanted: f64) -> f64 {
        let is_near = |per_s: &f64| per_s / wanted < NEARBY && wanted / per_s < NEARBY;
        self.windows.iter().map(|(per_s, _)| *per_s).find(is_near).unwrap_or(wanted)
    }

    fn level(&self, per_s: f64) -> Level {
        let at = self.windows.iter().filter(|(known, _)| *known == per_s);
        let windows: Vec<Window> = at.map(|(_, window)| window.clone()).collect();
        level::level(per_s, &windows)
    }

    async fn profile(&self, capacity_per_s: f64) -> Profile {
        let target = self.conditions.target;
        let mut rates: Vec<f64> = self.windows.iter().map(|(per_s, _)| *per_s).collect();
        rates.sort_by(f64::total_cmp);
        rates.dedup();
        let server_objective_ms = tail::objective_ms(target, SETTINGS_MAX).await;
        Profile {
            format: FORMAT.to_owned(),
            model: target.model.clone(),
            version: target.version.clone(),
            url: target.address.to_string(),
            protocol: target.protocol.name().to_owned(),
            rows_per_request: self.conditions.prepared.rows() as u64,
            machine: Machine::this(),
            server: Settings::read(target, SETTINGS_MAX).await.unwrap_or_default(),
            server_objective_ms,
            objective: self.options.objective,
            capacity_per_s,
            levels: rates.into_iter().map(|per_s| self.level(per_s)).collect(),
            spread: level::spread(self.windows.iter().map(|(_, window)| window)),
        }
    }

    fn never_met(&self, per_s: f64) -> Error {
        let Objective { ms, percentile, .. } = self.options.objective;
        let level = self.level(per_s);
        Error::NeverMet {
            objective_ms: ms,
            percentile,
            per_s,
            share: level.in_time_share() * 100.0,
            latency_ms: level.latency_us.at(percentile / 100.0) / 1e3,
        }
    }
}

fn not_met(search: &Search) -> Option<f64> {
    let missed = search.points().iter().filter(|point| point.verdict != Verdict::Meets);
    missed.map(|point| point.per_s).min_by(f64::total_cmp)
}

fn searched(search: &Search) -> Vec<SearchedRate> {
    let nothing = Bounds { share: f64::NAN, low: 0.0, high: 1.0 };
    let of = |point: &Point| {
        let Bounds { share, low, high } = point.bounds.unwrap_or(nothing);
        SearchedRate {
            per_s: point.per_s,
            windows: point.windows,
            verdict: point.verdict.name(),
            in_time: share,
            in_time_low: low,
            in_time_high: high,
        }
    };
    search.points().iter().map(of).collect()
}
