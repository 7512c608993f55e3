//! How much a server can do: the highest rate at which it keeps an objective, and what it does at
//! others.

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

/// Tries of a window in which the load generator was the bottleneck.
const TRIES_MAX: usize = 3;
/// Windows in which enough requests should come to prove that an objective is kept.
const WINDOWS_ENOUGH: f64 = 3.0;
/// One request at a time is sent for so long.
const ALONE: Duration = Duration::from_secs(1);
/// The longest window.
const WINDOW_MAX: Duration = Duration::from_secs(60);
/// What a server may take to say how it runs the model.
const SETTINGS_MAX: Duration = Duration::from_secs(5);
/// Shares of the capacity at which the curve has points...
const CURVE: [f64; 7] = [0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0];
/// ...each from as many windows...
const CURVE_WINDOWS: usize = 3;
/// ...unless the search has measured so near.
const NEAR: f64 = 1.08;
/// The lowest rate that is tried, as a part of that of one request at a time.
const LEAST_SHARE: f64 = 0.01;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// What is to be kept.
    pub objective: Objective,
    /// How far the answer may be below the truth, as a part of it.
    pub precision: f64,
    /// How long each window is, at least.
    pub window: Duration,
    /// Windows of a rate, at most.
    pub windows_max: usize,
    /// The rate to begin with; half of what one request at a time makes when it is not given.
    pub from_per_s: Option<f64>,
    /// No higher rate is tried.
    pub most_per_s: f64,
    /// Whether the curve gets more points than the search needs.
    pub curve: bool,
    /// Another one sends at other times.
    pub seed: u64,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The load was not sent.
    #[error(transparent)]
    Run(Box<crate::Error>),
    /// One request at a time takes too long.
    #[error(
        "the objective of {objective_ms} ms cannot be met: one request at a time takes \
         {alone_ms:.3} ms (the fastest of ten {least_ms:.3} ms)"
    )]
    TooSlowAlone {
        /// What was to be kept.
        objective_ms: f64,
        /// Half of them take no longer.
        alone_ms: f64,
        /// A tenth of them take no longer.
        least_ms: f64,
    },
    /// Nothing is slow enough.
    #[error(
        "the objective of {objective_ms} ms for {percentile} % cannot be met: at {per_s:.1} requests/s, \
         the lowest rate tried, {share:.2} % were in time and p{percentile} was {latency_ms:.3} ms"
    )]
    NeverKept {
        /// How soon.
        objective_ms: f64,
        /// For how many.
        percentile: f64,
        /// The lowest rate.
        per_s: f64,
        /// How many were in time there, in hundredths.
        share: f64,
        /// How long they took there.
        latency_ms: f64,
    },
    /// This program could not send more.
    #[error("at {per_s:.1} requests/s {reason}{}", at_least(*.kept_per_s))]
    Generator {
        /// The rate.
        per_s: f64,
        /// How it was the bottleneck.
        reason: String,
        /// The highest rate that keeps the objective, as far as is known nevertheless.
        kept_per_s: Option<f64>,
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

fn at_least(kept_per_s: Option<f64>) -> String {
    kept_per_s
        .map_or(String::new(), |per_s| format!("; the capacity is at least {per_s:.1} requests/s"))
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Capacity {
    /// What was seen at all rates.
    #[serde(flatten)]
    pub profile: Profile,
    /// The lowest rate that does not keep the objective; `None` when all that were tried do.
    pub not_kept_per_s: Option<f64>,
    /// How the search went, in its order.
    pub search: Vec<Searched>,
}

/// A rate of the search.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Searched {
    /// Requests a second.
    pub per_s: f64,
    /// Windows.
    pub windows: usize,
    /// `keeps`, `misses` or `unclear`.
    pub verdict: &'static str,
    /// The part of the requests in time.
    pub in_time: f64,
    /// It is at least this.
    pub in_time_low: f64,
    /// It is at most this.
    pub in_time_high: f64,
}

/// What is told while it goes on.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// A window at this rate begins.
    Begins {
        /// Requests a second.
        per_s: f64,
        /// How long it takes.
        duration: Duration,
    },
    /// What the search knows now of the rate.
    Seen(&'a Point),
}

/// Finds the capacity.
///
/// # Errors
/// When there is none, or it cannot be measured.
pub async fn find(
    conditions: &Conditions<'_>,
    question: &Question,
    mut observe: impl FnMut(Progress<'_>),
) -> Result<Capacity, Error> {
    let alone_per_s = alone(conditions, question).await?;
    let goal = question.goal(alone_per_s);
    let mut measured = Measured { conditions, question, windows: Vec::new() };
    let mut search = Search::new(goal, question.from_per_s.unwrap_or(alone_per_s / 2.0));
    let capacity_per_s = loop {
        match search.next() {
            Next::Measure { per_s } => {
                let window = measured.window(per_s, &search, &mut observe).await?;
                search.saw(per_s, &window.batches());
                search.points().last().into_iter().for_each(|point| observe(Progress::Seen(point)));
            }
            Next::Found { per_s } | Next::KeptAtMost { per_s } => break per_s,
            Next::NeverKept { per_s } => return Err(measured.never_kept(per_s)),
        }
    };
    if question.curve {
        measured.fill(capacity_per_s, &search, &mut observe).await?;
    }
    let profile = measured.profile(capacity_per_s).await;
    Ok(Capacity { profile, not_kept_per_s: not_kept(&search), search: searched(&search) })
}

impl Question {
    fn goal(&self, alone_per_s: f64) -> Goal {
        Goal {
            share: self.objective.percentile / 100.0,
            confidence: self.objective.confidence / 100.0,
            precision: self.precision,
            windows_max: self.windows_max,
            least_per_s: (alone_per_s * LEAST_SHARE).min(self.most_per_s),
            most_per_s: self.most_per_s,
        }
    }

    /// How long a window is: so many requests without a single miss prove that enough are in time.
    fn window(&self, per_s: f64) -> Duration {
        let Objective { percentile, confidence, .. } = self.objective;
        let error = (1.0 - confidence / 100.0) / self.windows_max.max(1) as f64;
        let requests = error.ln() / (percentile / 100.0).ln();
        let enough_s = (requests / WINDOWS_ENOUGH / per_s).min(WINDOW_MAX.as_secs_f64());
        self.window.max(Duration::from_secs_f64(enough_s))
    }
}

/// One request at a time: how many a second.
async fn alone(conditions: &Conditions<'_>, question: &Question) -> Result<f64, Error> {
    let duration = question.window.min(ALONE);
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
    let objective_ms = question.objective.ms;
    if alone_us > objective_ms * 1e3 {
        let (alone_ms, least_ms) = (alone_us / 1e3, least_us / 1e3);
        return Err(Error::TooSlowAlone { objective_ms, alone_ms, least_ms });
    }
    Ok(1e6 / alone_us)
}

/// All windows so far.
struct Measured<'a> {
    conditions: &'a Conditions<'a>,
    question: &'a Question,
    windows: Vec<(f64, Window)>,
}

impl Measured<'_> {
    /// One more; again when the objective was missed and the generator itself was the bottleneck.
    async fn window(
        &mut self,
        per_s: f64,
        search: &Search,
        observe: &mut impl FnMut(Progress<'_>),
    ) -> Result<Window, Error> {
        let duration = self.question.window(per_s);
        let mut reason = String::new();
        for attempt in 0..TRIES_MAX {
            observe(Progress::Begins { per_s, duration });
            let seed = self.question.seed + 1_000 * self.windows.len() as u64 + attempt as u64;
            let window = self.conditions.poisson(per_s, duration, seed).await?;
            match window.report.invalid_because.clone() {
                Some(because) if !self.is_kept(&window) => reason = because,
                _ => {
                    self.windows.push((per_s, window.clone()));
                    return Ok(window);
                }
            }
        }
        let kept = search.points().iter().filter(|point| point.verdict == Verdict::Keeps);
        let kept_per_s = kept.map(|point| point.per_s).max_by(f64::total_cmp);
        Err(Error::Generator { per_s, reason, kept_per_s })
    }

    /// Whether the objective was kept, to look at. Lateness of the generator counts as latency, so
    /// that this is so all the more without it.
    fn is_kept(&self, window: &Window) -> bool {
        let in_time = window.report.in_time.unwrap_or(0) as f64;
        in_time >= self.question.objective.percentile / 100.0 * window.report.requests as f64
    }

    /// Points of the curve that the search did not need, in rounds: where the machine changes in
    /// the meantime, it does so for all of them.
    async fn fill(
        &mut self,
        capacity_per_s: f64,
        search: &Search,
        observe: &mut impl FnMut(Progress<'_>),
    ) -> Result<(), Error> {
        let rates: Vec<f64> = CURVE.iter().map(|share| self.near(share * capacity_per_s)).collect();
        for round in 1..=CURVE_WINDOWS {
            for &per_s in &rates {
                if self.windows.iter().filter(|(known, _)| *known == per_s).count() < round {
                    self.window(per_s, search, observe).await?;
                }
            }
        }
        Ok(())
    }

    /// A rate that was measured so near to this one, or this one.
    fn near(&self, wanted: f64) -> f64 {
        let is_near = |per_s: &f64| per_s / wanted < NEAR && wanted / per_s < NEAR;
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
            objective: self.question.objective,
            capacity_per_s,
            levels: rates.into_iter().map(|per_s| self.level(per_s)).collect(),
            spread: level::spread(self.windows.iter().map(|(_, window)| window)),
        }
    }

    fn never_kept(&self, per_s: f64) -> Error {
        let Objective { ms, percentile, .. } = self.question.objective;
        let level = self.level(per_s);
        Error::NeverKept {
            objective_ms: ms,
            percentile,
            per_s,
            share: level.in_time_share() * 100.0,
            latency_ms: level.latency_us.at(percentile / 100.0) / 1e3,
        }
    }
}

fn not_kept(search: &Search) -> Option<f64> {
    let missed = search.points().iter().filter(|point| point.verdict != Verdict::Keeps);
    missed.map(|point| point.per_s).min_by(f64::total_cmp)
}

fn searched(search: &Search) -> Vec<Searched> {
    let nothing = Bounds { share: f64::NAN, low: 0.0, high: 1.0 };
    let of = |point: &Point| {
        let Bounds { share, low, high } = point.bounds.unwrap_or(nothing);
        Searched {
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
