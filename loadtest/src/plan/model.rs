//! Model of the measured server: the engine's own scheduler, with the measured run times, their
//! spread, and the latency outside the engine.

use super::deconvolve::deconvolve;
use super::run_times;
use super::smooth::smooth;
use crate::profile::{Level, Profile};
use crate::quantiles::sorted_quantile;
use skysail_policy::batch::{Limits, Policy};
use skysail_policy::response_reserve;
use skysail_policy::simulate::{
    Arrivals, Cost, Kind, Known, Level as OverheadLevel, Machine, Noise, Overhead, Scenario,
    Traffic, simulate,
};

/// Share of answered requests above which a rate is steady.
const ANSWERED_MIN: f64 = 0.97;
/// Least ratio of requests to the offered load, over the time until all were answered.
const KEPT_UP_MIN: f64 = 0.9;
/// Factors that describe the spread of run times.
const FACTORS: usize = 200;
/// Fewest runs from which the spread is known.
const RUNS_MIN: u64 = 50;
/// Share of the replicas' throughput below which a stage before them is the limit.
const FRONT_MAX: f64 = 0.7;
/// Approximate requests of a simulated level, and its longest duration.
const REQUESTS: f64 = 30_000.0;
const SIMULATED_US_MAX: f64 = 300e6;
/// Window of the momentary rate, as a time and as a number of requests.
const RATE_OVER_US: f64 = 200_000.0;
const RATE_OVER_REQUESTS: f64 = 50.0;
/// Ratio of the standard deviation to the median absolute deviation (of a normal distribution).
const DEVIATIONS: f64 = 1.482_6;
/// Error of a model that cannot be compared with other measurements.
const ERROR_UNKNOWN: f64 = 0.25;
/// Least error of a model.
const ERROR_MIN: f64 = 0.05;
/// Queue capacity of a server that does not report it.
const QUEUE_MAX: usize = 4_096;

/// Model of a server.
#[derive(Clone, Debug)]
pub(super) struct Model {
    scenario: Scenario,
    /// Lowest and highest measured rate.
    pub(super) rates: (f64, f64),
    /// Error of the model: the standard deviation of the logarithm of predicted over measured
    /// latency, at levels that it was not fitted to.
    pub(super) error: f64,
}

impl Model {
    /// Fits the model to a profile; the error is taken at this quantile of the latencies.
    ///
    /// # Errors
    /// Fails with a description if the profile lacks data.
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
            let seen = measured_outside(&scenario, level, *times);
            scenario.overhead.levels.push(seen);
        }
        let error = error(&scenario, &seen, share);
        Ok(Self { scenario, rates, error })
    }

    /// Scenario of one server under these arrivals.
    pub(super) fn scenario(
        &self,
        arrivals: Arrivals,
        mean_per_s: f64,
        duration_us: u64,
    ) -> Scenario {
        with_traffic(&self.scenario, arrivals, mean_per_s, duration_us)
    }
}

/// True if requests were answered as fast as they came.
fn is_steady(level: &Level) -> bool {
    let requests = level.requests as f64;
    // The number of random arrivals deviates by about its square root.
    let kept_up = requests + 3.0 * requests.sqrt() >= KEPT_UP_MIN * level.per_s * level.seconds;
    let answered = level.answered as f64 >= ANSWERED_MIN * requests;
    answered && kept_up && !level.latency_us.is_empty()
}

fn noise(profile: &Profile) -> Noise {
    let spread = &profile.spread;
    if spread.runs < RUNS_MIN {
        return Noise::None;
    }
    let mut factors: Vec<f64> = spread.times.evenly_spaced(FACTORS).collect();
    let mean = factors.iter().sum::<f64>() / factors.len().max(1) as f64;
    factors.iter_mut().for_each(|factor| *factor /= mean.max(f64::MIN_POSITIVE));
    Noise::Measured(factors)
}

fn scenario(profile: &Profile, machine: Machine) -> Scenario {
    let server = profile.server;
    let rows = profile.rows_per_request as usize;
    let whole_us = profile.server_objective_ms.map(|ms| ms * 1e3);
    let objective_us = whole_us.map(response_reserve::inside);
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
        overhead: Overhead { objective_us: whole_us, ..Overhead::default() },
        known: Known::Calibrated { factor: 1.0 },
        kinds: vec![Kind { rows: (rows, rows), ..Kind::default() }],
        ..Scenario::default()
    }
}

/// Time of a request in the stage before the queue, if that was the limit.
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

/// Scenario with requests at a level's rate.
fn at_level(scenario: &Scenario, level: &Level) -> Scenario {
    let duration_us = (REQUESTS / level.per_s * 1e6).min(SIMULATED_US_MAX);
    let arrivals = Arrivals::Poisson { per_s: level.per_s };
    with_traffic(scenario, arrivals, level.per_s, duration_us as u64)
}

/// Latency outside the engine at a level, whose runs take this multiple of the time.
fn measured_outside(scenario: &Scenario, level: &Level, run_times: f64) -> OverheadLevel {
    let mut scenario = at_level(scenario, level);
    let alone = OverheadLevel { per_s: level.per_s, run_times, around_us: Vec::new() };
    scenario.overhead.levels = vec![alone.clone()];
    let inside_us = simulate(&scenario, 1).total.latencies_us;
    OverheadLevel { around_us: deconvolve(&level.latency_us, &inside_us), ..alone }
}

/// Error of the model at inner levels, each left out of the fit in turn. The median ignores a stall
/// at one of them.
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
    (DEVIATIONS * sorted_quantile(&off, 0.5)).max(ERROR_MIN)
}
