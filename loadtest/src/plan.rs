//! Plans how many servers a load needs. A profile gives the measured run times of one server, their
//! spread, and the time outside the engine. The engine's own scheduler runs with them under
//! simulated time.

mod model;
mod predict;
mod run_times;
mod show;
mod smooth;
mod deconvolve;

use crate::profile::{Objective, Profile};
use model::Model;
pub use predict::Prediction;
use predict::predict;
use serde::Serialize;
use std::collections::BTreeMap;

/// Highest planned rate of a server, relative to the highest measured one.
const RATE_MAX: f64 = 1.02;
/// Greatest load factor at which headroom is sought.
const HEADROOM_MAX: f64 = 4.0;
/// Bisections of the headroom.
const HEADROOM_STEPS: usize = 7;
/// Most servers of a plan.
const SERVERS_MAX: f64 = 1e6;

/// Arrivals of the whole load.
#[derive(Clone, Debug, PartialEq)]
pub enum Traffic {
    /// Poisson process.
    Poisson {
        /// Requests a second.
        per_s: f64,
    },
    /// Poisson process with periodic bursts.
    Bursts {
        /// Mean requests a second.
        per_s: f64,
        /// Rate in a burst, relative to the rate outside.
        times: f64,
        /// Length of a burst.
        on_us: u64,
        /// Time from one burst to the next.
        period_us: u64,
    },
    /// Recorded arrival times, in order.
    Recorded(Vec<u64>),
}

/// Request for a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanRequest {
    /// Load of all servers together.
    pub traffic: Traffic,
    /// Objective to meet.
    pub objective: Objective,
    /// Simulations of each number of servers.
    pub seeds: u64,
    /// Cost of one server an hour.
    pub cost_per_hour: Option<f64>,
}

/// Reason why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The profile lacks data.
    #[error("nothing can be planned with this profile: {0}")]
    Profile(String),
    /// No number of servers meets the objective.
    #[error(
        "{percentile} % within {objective_ms} ms cannot be met with any number of servers: with \
         {per_s:.1} requests/s on each, p{percentile} is {latency_ms:.3} ms (up to {high_ms:.3} ms)"
    )]
    NeverMet {
        /// Objective, in milliseconds.
        objective_ms: f64,
        /// Percentile of the objective.
        percentile: f64,
        /// Requests a second of one server.
        per_s: f64,
        /// Predicted latency at that rate.
        latency_ms: f64,
        /// Upper end of its range.
        high_ms: f64,
    },
    /// The load is empty.
    #[error("there is no load to plan for")]
    NoLoad,
    /// The load is too large.
    #[error("{0:.0} requests/s would need more than a million servers")]
    TooMuch(f64),
}

/// Plan for a load.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Name of the model.
    pub model: String,
    /// Objective to meet.
    pub objective: Objective,
    /// `poisson`, `bursts` or `recorded`.
    pub arrivals: &'static str,
    /// Mean requests a second.
    pub requests_per_s: f64,
    /// Number of servers.
    pub servers: u64,
    /// Replicas of the model on each server.
    pub replicas_per_server: Option<u64>,
    /// Prediction for this number of servers.
    pub prediction: Prediction,
    /// Prediction for one server fewer.
    pub one_fewer: Option<Prediction>,
    /// Additional load that still meets the objective, in percent; unknown for a recording.
    pub headroom: Option<f64>,
    /// Cost of a million requests.
    pub cost_per_million: Option<f64>,
    /// Error of the model at measured latencies that it was not fitted to, in percent.
    pub model_error: f64,
    /// Simulations of each number of servers.
    pub simulations: u64,
}

/// Plans the fewest servers that meet an objective.
///
/// # Errors
/// Fails if the profile lacks data, or no number of servers meets the objective.
pub fn plan(profile: &Profile, request: &PlanRequest) -> Result<Plan, Error> {
    let per_s = request.traffic.mean_per_s();
    let is_empty = matches!(&request.traffic, Traffic::Recorded(times) if times.is_empty());
    if is_empty || per_s <= 0.0 {
        return Err(Error::NoLoad);
    }
    let share = request.objective.percentile / 100.0;
    let model = Model::fit(profile, share).map_err(Error::Profile)?;
    let mut planner = Planner { model: &model, request, known: BTreeMap::new() };
    let servers = planner.fewest(profile.capacity_per_s)?;
    let prediction = planner.at(servers);
    let one_fewer = (servers > 1).then(|| planner.at(servers - 1));
    let million = |an_hour: f64| an_hour * servers as f64 / (per_s * 3_600.0) * 1e6;
    Ok(Plan {
        model: profile.model.clone(),
        objective: request.objective,
        arrivals: request.traffic.name(),
        requests_per_s: per_s,
        servers,
        replicas_per_server: profile.server.replicas,
        prediction,
        one_fewer,
        headroom: planner.headroom(servers),
        cost_per_million: request.cost_per_hour.map(million),
        model_error: (model.error.exp() - 1.0) * 100.0,
        simulations: request.seeds,
    })
}

/// Predicts the latency of a number of servers, whether or not they meet the objective.
///
/// # Errors
/// Fails if the profile lacks data.
pub fn predict_servers(
    profile: &Profile,
    request: &PlanRequest,
    servers: u64,
) -> Result<Prediction, Error> {
    let share = request.objective.percentile / 100.0;
    let model = Model::fit(profile, share).map_err(Error::Profile)?;
    Ok(predict(&model, request, servers.max(1)))
}

impl Traffic {
    /// Name in reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Poisson { .. } => "poisson",
            Self::Bursts { .. } => "bursts",
            Self::Recorded(_) => "recorded",
        }
    }

    /// Scales the rate; `None` for a recording.
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

/// Predictions of the numbers of servers that were tried.
struct Planner<'a> {
    model: &'a Model,
    request: &'a PlanRequest,
    known: BTreeMap<u64, Prediction>,
}

impl Planner<'_> {
    fn at(&mut self, servers: u64) -> Prediction {
        let predict = || predict(self.model, self.request, servers);
        *self.known.entry(servers).or_insert_with(predict)
    }

    /// True if this number of servers meets the objective, at a rate that was measured.
    fn meets_objective(&mut self, servers: u64) -> bool {
        let per_s = self.request.traffic.mean_per_s() / servers as f64;
        per_s <= self.model.rates.1 * RATE_MAX && self.at(servers).meets_objective
    }

    /// Finds the fewest servers that meet the objective. It begins with the number that the
    /// capacity suggests, adds more until the objective is met, and bisects.
    fn fewest(&mut self, capacity_per_s: f64) -> Result<u64, Error> {
        let per_s = self.request.traffic.mean_per_s();
        let first = (per_s / capacity_per_s).ceil().max(1.0);
        // More servers would do no better: each is at the lowest measured rate.
        let last = (per_s / self.model.rates.0).ceil().max(first);
        if last > SERVERS_MAX {
            return Err(Error::TooMuch(per_s));
        }
        let (mut high, last) = (first as u64, last as u64);
        let mut low = 0;
        while !self.meets_objective(high) {
            if high >= last {
                return Err(self.never_met(high));
            }
            low = high;
            high = (high + high.div_ceil(4)).min(last);
        }
        if low == 0 {
            // Fewer servers than the capacity suggests rarely suffice.
            while high > 1 && self.meets_objective(high - 1) {
                high -= 1;
            }
            return Ok(high);
        }
        while high - low > 1 {
            let middle = low.midpoint(high);
            if self.meets_objective(middle) { high = middle } else { low = middle }
        }
        Ok(high)
    }

    fn never_met(&mut self, servers: u64) -> Error {
        let Prediction { per_server_per_s, latency_ms, latency_ms_high, .. } = self.at(servers);
        Error::NeverMet {
            objective_ms: self.request.objective.ms,
            percentile: self.request.objective.percentile,
            per_s: per_server_per_s,
            latency_ms,
            high_ms: latency_ms_high,
        }
    }

    /// Additional load that a number of servers can take, in percent.
    fn headroom(&self, servers: u64) -> Option<f64> {
        let meets_objective = |factor: f64| {
            let traffic = self.request.traffic.scaled(factor)?;
            let request = PlanRequest { traffic, ..self.request.clone() };
            let known = BTreeMap::new();
            Some(Planner { model: self.model, request: &request, known }.meets_objective(servers))
        };
        let (mut low, mut high) = (1.0_f64, HEADROOM_MAX);
        if meets_objective(high)? {
            return Some((high - 1.0) * 100.0);
        }
        for _ in 0..HEADROOM_STEPS {
            let middle = (low * high).sqrt();
            if meets_objective(middle)? { low = middle } else { high = middle }
        }
        Some((low - 1.0) * 100.0)
    }
}

#[cfg(test)]
mod tests;
