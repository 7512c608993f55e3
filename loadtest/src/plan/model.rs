//! A model of the server that was measured: the engine's own scheduler, with run times, their
//! spread, and what is outside of the engine as they were seen.

use super::run_times;
use super::smooth::smooth;
use super::unmix::outside;
use crate::profile::{Level, Profile};
use crate::quantiles::sorted_at;
use skysail_policy::batch::{Limits, Policy};
use skysail_policy::response_reserve;
use skysail_policy::simulate::{
    Arrivals, Cost, Kind, Known, Level as OverheadLevel, Machine, Noise, Overhead, Scenario,
    Traffic, simulate,
};

/// A rate is steady where this part of its requests is answered...
const ANSWERED_MIN: f64 = 0.97;
/// ...and it did not take longer than this allows until all were.
const KEPT_UP_MIN: f64 = 0.9;
/// Factors that describe how runs differ.
const FACTORS: usize = 200;
/// Runs from which it is known how they differ.
const RUNS_MIN: u64 = 50;
/// Part of what the replicas could do at which something before them is the limit.
const FRONT_MAX: f64 = 0.7;
/// Requests that a simulation of a level has, about, and the longest it takes.
const REQUESTS: f64 = 30_000.0;
const SIMULATED_US_MAX: f64 = 300e6;
/// Over how long, and over how many requests, the rate of a moment is taken.
const RATE_OVER_US: f64 = 200_000.0;
const RATE_OVER_REQUESTS: f64 = 50.0;
/// Standard deviations for each median of the deviations (of a normal distribution).
const DEVIATIONS: f64 = 1.482_6;
/// How wrong a model is taken to be that cannot be held against what it was not made from.
const ERROR_UNKNOWN: f64 = 0.25;
/// And the least that it may be.
const ERROR_MIN: f64 = 0.05;
/// The queue of a server that does not say how long it may be.
const QUEUE_MAX: usize = 4_096;

/// The model.
#[derive(Clone, Debug)]
pub(super) struct Model {
    scenario: Scenario,
    /// The lowest and the highest rate that it knows.
    pub(super) rates: (f64, f64),
    /// How far its latencies are from those that were measured and that it was not made from: the
    /// standard deviation of the logarithm of their ratio.
    pub(super) error: f64,
}

impl Model {
    /// Makes it from a profile; the error is taken at this share of the latencies.
    ///
    /// # Errors
    /// When the profile does not have what is needed, and says what.
    pub(super) fn fit(profile: &Profile, share: f64) -> Result<Self, String> {
        let seen: Vec<Level> =
            profile.levels.iter().filter(|level| is_steady(level)).cloned().collect();
        let mut steady = seen.clone();
        smooth(&mut steady);
        let (Some(first), Some(last)) = (steady.first(), steady.last()) else {
            return Err("at none of its rates was nearly every request answered".to_owned());
        };
        let rates = (first.per_s, last.per_s);
        let run_times = run_times::fit(&steady).ok_or_else(|| {
            "it has no run times: the server did not count its runs by size".to_owned()
        })?;
        let cost = Cost::Curve(run_times.curve);
        let machine = Machine { cost, noise: noise(profile), ..Machine::line(0.0, 0.0) };
        let mut scenario = scenario(profile, machine);
        scenario.overhead.front_us = front_us(profile, &scenario);
        for (level, times) in steady.iter().zip(&run_times.times) {
            let seen = seen_outside(&scenario, level, *times);
            scenario.overhead.levels.push(seen);
        }
        let error = error(&scenario, &seen, share);
        Ok(Self { scenario, rates, error })
    }

    /// What happens on one server when these requests come.
    pub(super) fn scenario(
        &self,
        arrivals: Arrivals,
        mean_per_s: f64,
        duration_us: u64,
    ) -> Scenario {
        with_traffic(&self.scenario, arrivals, mean_per_s, duration_us)
    }
}

/// Whether requests were answered as fast as they came.
fn is_steady(level: &Level) -> bool {
    let requests = level.requests as f64;
    // Chance alone makes them more or fewer by about the root of their number.
    let kept_up = requests + 3.0 * requests.sqrt() >= KEPT_UP_MIN * level.per_s * level.seconds;
    let answered = level.answered as f64 >= ANSWERED_MIN * requests;
    answered && kept_up && !level.latency_us.is_empty()
}

fn noise(profile: &Profile) -> Noise {
    let spread = &profile.spread;
    if spread.runs < RUNS_MIN {
        return Noise::None;
    }
    let mut factors: Vec<f64> = spread.times.even(FACTORS).collect();
    let mean = factors.iter().sum::<f64>() / factors.len().max(1) as f64;
    factors.iter_mut().for_each(|factor| *factor /= mean.max(f64::MIN_POSITIVE));
    Noise::Measured(factors)
}

fn scenario(profile: &Profile, machine: Machine) -> Scenario {
    let server = profile.server;
    let rows = profile.rows_per_request as usize;
    let objective_us = profile.server_objective_ms.map(|ms| response_reserve::inside(ms * 1e3));
    let rows_max = server.batch_rows_max.map_or(rows, |max| max as usize).max(rows);
    let replicas = server.replicas.map_or(1, |count| count as usize);
    Scenario {
        policy: match server.delay_us {
            Some(delay_max_us @ 1..) => Policy::fixed(delay_max_us),
            _ => Policy::default(),
        },
        limits: Limits { rows_max, objective_us, replicas },
        requests_max: server.queue_max.map_or(QUEUE_MAX, |max| max as usize),
        machine,
        overhead: Overhead::default(),
        known: Known::Calibrated { factor: 1.0 },
        kinds: vec![Kind { rows: (rows, rows), ..Kind::default() }],
        ..Scenario::default()
    }
}

/// How long a request takes up what comes before the queue, when that was seen to be the limit.
fn front_us(profile: &Profile, scenario: &Scenario) -> f64 {
    if profile.levels.iter().all(is_steady) {
        return 0.0;
    }
    let answered = profile.levels.iter().map(Level::answered_per_s);
    let most_per_s = answered.fold(0.0, f64::max);
    let rows_per_s = scenario.machine.rows_per_s(scenario.limits.rows_max, f64::INFINITY);
    let replicas = scenario.limits.replicas as f64;
    let possible_per_s = rows_per_s * replicas / profile.rows_per_request as f64;
    if most_per_s < FRONT_MAX * possible_per_s { 1e6 / most_per_s } else { 0.0 }
}

fn with_traffic(
    scenario: &Scenario,
    arrivals: Arrivals,
    mean_per_s: f64,
    duration_us: u64,
) -> Scenario {
    let mut scenario = scenario.clone();
    scenario.overhead.over_us = RATE_OVER_US.max(RATE_OVER_REQUESTS * 1e6 / mean_per_s);
    scenario.traffic = Traffic::Open(arrivals);
    scenario.duration_us = duration_us;
    scenario
}

/// Requests at a level's rate.
fn at_level(scenario: &Scenario, level: &Level) -> Scenario {
    let duration_us = (REQUESTS / level.per_s * 1e6).min(SIMULATED_US_MAX);
    let arrivals = Arrivals::Poisson { per_s: level.per_s };
    with_traffic(scenario, arrivals, level.per_s, duration_us as u64)
}

/// What was outside of the engine at a level, where runs take so many times as long.
fn seen_outside(scenario: &Scenario, level: &Level, run_times: f64) -> OverheadLevel {
    let mut scenario = at_level(scenario, level);
    let alone = OverheadLevel { per_s: level.per_s, run_times, around_us: Vec::new() };
    scenario.overhead.levels = vec![alone.clone()];
    let inside_us = simulate(&scenario, 1).total.latencies_us;
    OverheadLevel { around_us: outside(&level.latency_us, &inside_us), ..alone }
}

/// How far off the model is at levels that it is not told of: in the middle, as a stall at one of
/// them is no fault of the model.
fn error(scenario: &Scenario, seen: &[Level], share: f64) -> f64 {
    let inner = 1..seen.len().saturating_sub(1);
    let mut off: Vec<f64> = inner
        .map(|index| {
            let mut without = at_level(scenario, &seen[index]);
            without.overhead.levels.remove(index);
            let found_us = simulate(&without, 2).total.latency_us(share).max(1) as f64;
            (found_us / seen[index].latency_us.at(share)).ln().abs()
        })
        .filter(|off| off.is_finite())
        .collect();
    if off.is_empty() {
        return ERROR_UNKNOWN;
    }
    off.sort_by(f64::total_cmp);
    (DEVIATIONS * sorted_at(&off, 0.5)).max(ERROR_MIN)
}
