//! How many servers a load needs. A profile says what one server was seen to do; here the engine's
//! own scheduler runs under simulated time with the run times, their spread, and the time outside
//! of the engine that were measured.

mod model;
mod predict;
mod run_times;
mod show;
mod smooth;
mod unmix;

use crate::profile::{Objective, Profile};
use model::Model;
pub use predict::Prediction;
use predict::predict;
use serde::Serialize;
use std::collections::BTreeMap;

/// A server is never planned with more than this times the highest rate at which it was seen.
const RATE_MAX: f64 = 1.02;
/// More load than planned is looked for up to this.
const HEADROOM_MAX: f64 = 4.0;
/// How closely.
const HEADROOM_STEPS: usize = 7;
/// No plan has more servers.
const SERVERS_MAX: f64 = 1e6;

/// When requests come.
#[derive(Clone, Debug, PartialEq)]
pub enum Traffic {
    /// Independent of each other.
    Poisson {
        /// Requests a second.
        per_s: f64,
    },
    /// Many more of them now and then.
    Bursts {
        /// Requests a second on average.
        per_s: f64,
        /// How many times as many in a burst.
        times: f64,
        /// How long one lasts.
        on_us: u64,
        /// From one to the next.
        period_us: u64,
    },
    /// At times that were recorded, in order.
    Recorded(Vec<u64>),
}

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// The load of all servers together.
    pub traffic: Traffic,
    /// What is to be kept.
    pub objective: Objective,
    /// Simulations of each number of servers.
    pub seeds: u64,
    /// What one server costs an hour.
    pub cost_per_hour: Option<f64>,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The profile is not enough.
    #[error("nothing can be planned with this profile: {0}")]
    Profile(String),
    /// No number of servers is enough.
    #[error(
        "{percentile} % within {objective_ms} ms cannot be kept with any number of servers: with \
         {per_s:.1} requests/s on each, p{percentile} is {latency_ms:.3} ms (up to {high_ms:.3} ms)"
    )]
    NeverKept {
        /// How soon.
        objective_ms: f64,
        /// For how many.
        percentile: f64,
        /// Requests a second of one server.
        per_s: f64,
        /// How long they take there.
        latency_ms: f64,
        /// How long they may take there.
        high_ms: f64,
    },
    /// There is no load.
    #[error("there is no load to plan for")]
    NoLoad,
    /// There is too much.
    #[error("{0:.0} requests/s would need more than a million servers")]
    TooMuch(f64),
}

/// The answer.
#[derive(Clone, Debug, Serialize)]
pub struct Answer {
    /// The model's name.
    pub model: String,
    /// What is to be kept.
    pub objective: Objective,
    /// `poisson`, `bursts` or `recorded`.
    pub arrivals: &'static str,
    /// Requests a second on average.
    pub requests_per_s: f64,
    /// How many servers are needed.
    pub servers: u64,
    /// Replicas of the model on each.
    pub replicas_per_server: Option<u64>,
    /// What they make of it.
    pub prediction: Prediction,
    /// What one fewer would.
    pub one_fewer: Option<Prediction>,
    /// How much more load they could take, in hundredths; with a recording it is not known.
    pub headroom: Option<f64>,
    /// What a million requests cost.
    pub cost_per_million: Option<f64>,
    /// How far the model is from measured latencies that it was not made from, in hundredths.
    pub model_error: f64,
    /// Simulations of each number of servers.
    pub simulations: u64,
}

/// Answers it.
///
/// # Errors
/// When the profile is not enough, or the objective cannot be kept.
pub fn answer(profile: &Profile, question: &Question) -> Result<Answer, Error> {
    let per_s = question.traffic.mean_per_s();
    let is_empty = matches!(&question.traffic, Traffic::Recorded(times) if times.is_empty());
    if is_empty || per_s <= 0.0 {
        return Err(Error::NoLoad);
    }
    let share = question.objective.percentile / 100.0;
    let model = Model::fit(profile, share).map_err(Error::Profile)?;
    let mut planning = Planning { model: &model, question, known: BTreeMap::new() };
    let servers = planning.fewest(profile.capacity_per_s)?;
    let prediction = planning.at(servers);
    let one_fewer = (servers > 1).then(|| planning.at(servers - 1));
    let million = |an_hour: f64| an_hour * servers as f64 / (per_s * 3_600.0) * 1e6;
    Ok(Answer {
        model: profile.model.clone(),
        objective: question.objective,
        arrivals: question.traffic.name(),
        requests_per_s: per_s,
        servers,
        replicas_per_server: profile.server.replicas,
        prediction,
        one_fewer,
        headroom: planning.headroom(servers),
        cost_per_million: question.cost_per_hour.map(million),
        model_error: (model.error.exp() - 1.0) * 100.0,
        simulations: question.seeds,
    })
}

/// What so many servers make of a load, whether or not they keep the objective.
///
/// # Errors
/// When the profile is not enough.
pub fn predicted(
    profile: &Profile,
    question: &Question,
    servers: u64,
) -> Result<Prediction, Error> {
    let share = question.objective.percentile / 100.0;
    let model = Model::fit(profile, share).map_err(Error::Profile)?;
    Ok(predict(&model, question, servers.max(1)))
}

impl Traffic {
    /// Its word in reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Poisson { .. } => "poisson",
            Self::Bursts { .. } => "bursts",
            Self::Recorded(_) => "recorded",
        }
    }

    /// The same with so many times as many requests; a recording can not be had with more.
    fn scaled(&self, factor: f64) -> Option<Self> {
        match *self {
            Self::Poisson { per_s } => Some(Self::Poisson { per_s: per_s * factor }),
            Self::Bursts { per_s, times, on_us, period_us } => {
                Some(Self::Bursts { per_s: per_s * factor, times, on_us, period_us })
            }
            Self::Recorded(_) => None,
        }
    }
}

/// Numbers of servers that were tried.
struct Planning<'a> {
    model: &'a Model,
    question: &'a Question,
    known: BTreeMap<u64, Prediction>,
}

impl Planning<'_> {
    fn at(&mut self, servers: u64) -> Prediction {
        let predict = || predict(self.model, self.question, servers);
        *self.known.entry(servers).or_insert_with(predict)
    }

    /// Whether so many keep the objective, at a rate that is known.
    fn keeps(&mut self, servers: u64) -> bool {
        let per_s = self.question.traffic.mean_per_s() / servers as f64;
        per_s <= self.model.rates.1 * RATE_MAX && self.at(servers).keeps
    }

    /// The fewest servers that keep the objective: first about as many as the capacity asks for,
    /// then more until it is kept, then the fewest in between.
    fn fewest(&mut self, capacity_per_s: f64) -> Result<u64, Error> {
        let per_s = self.question.traffic.mean_per_s();
        let first = (per_s / capacity_per_s).ceil().max(1.0);
        // With still more, each would do no better than at the lowest rate that was seen.
        let last = (per_s / self.model.rates.0).ceil().max(first);
        if last > SERVERS_MAX {
            return Err(Error::TooMuch(per_s));
        }
        let (mut high, last) = (first as u64, last as u64);
        let mut low = 0;
        while !self.keeps(high) {
            if high >= last {
                return Err(self.never_kept(high));
            }
            low = high;
            high = (high + high.div_ceil(4)).min(last);
        }
        if low == 0 {
            // Fewer than the capacity asks for may do, but hardly by much.
            while high > 1 && self.keeps(high - 1) {
                high -= 1;
            }
            return Ok(high);
        }
        while high - low > 1 {
            let middle = low.midpoint(high);
            if self.keeps(middle) { high = middle } else { low = middle }
        }
        Ok(high)
    }

    fn never_kept(&mut self, servers: u64) -> Error {
        let Prediction { per_server_per_s, latency_ms, latency_ms_high, .. } = self.at(servers);
        Error::NeverKept {
            objective_ms: self.question.objective.ms,
            percentile: self.question.objective.percentile,
            per_s: per_server_per_s,
            latency_ms,
            high_ms: latency_ms_high,
        }
    }

    /// How much more load so many could take, in hundredths.
    fn headroom(&self, servers: u64) -> Option<f64> {
        let keeps = |factor: f64| {
            let traffic = self.question.traffic.scaled(factor)?;
            let question = Question { traffic, ..self.question.clone() };
            let known = BTreeMap::new();
            Some(Planning { model: self.model, question: &question, known }.keeps(servers))
        };
        let (mut low, mut high) = (1.0_f64, HEADROOM_MAX);
        if keeps(high)? {
            return Some((high - 1.0) * 100.0);
        }
        for _ in 0..HEADROOM_STEPS {
            let middle = (low * high).sqrt();
            if keeps(middle)? { low = middle } else { high = middle }
        }
        Some((low - 1.0) * 100.0)
    }
}

#[cfg(test)]
mod tests;
