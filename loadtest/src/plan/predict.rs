//! Predicts the latency of servers under a load: simulates the model several times, with the spread
//! of the results.

use super::model::Model;
use super::{PlanRequest, Traffic};
use crate::confidence::student_quantile;
use crate::mix::{STEP, unit_interval};
use skysail_policy::mix64;
use skysail_policy::simulate::{Arrivals, Outcome, simulate};

/// Approximate requests of one simulation, and its shortest and longest duration.
const REQUESTS: f64 = 30_000.0;
const SIMULATED_S_MIN: f64 = 2.0;
const SIMULATED_S_MAX: f64 = 600.0;
/// Fewest bursts of a simulation.
const BURSTS_MIN: u64 = 10;
/// Shortest duration of a recording: less gives no rate.
const RECORDED_US_MIN: u64 = 1_000_000;

/// Prediction for each of several servers, and so for all requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Prediction {
    /// Servers that share the load evenly.
    pub servers: u64,
    /// Requests a second of each server.
    pub per_server_per_s: f64,
    /// Median latency.
    pub latency_ms_p50: f64,
    /// Latency at the objective's percentile.
    pub latency_ms: f64,
    /// Lower end of its range, with the requested confidence.
    pub latency_ms_low: f64,
    /// Upper end of its range. The range comes from the spread of the simulations and the error of
    /// the model.
    pub latency_ms_high: f64,
    /// Share of the requests that are answered within the objective.
    pub in_time: f64,
    /// Lower bound of that share, from the spread of the simulations.
    pub in_time_low: f64,
    /// Share of the requests that are rejected or expire.
    pub rejected: f64,
    /// Share of the time that the replicas run.
    pub utilization: f64,
    /// Mean rows of a batch.
    pub batch_rows_mean: f64,
    /// True if the objective is met with the requested confidence.
    pub meets_objective: bool,
}

/// Result of one simulation.
struct SimulationResult {
    /// `None` when no request came.
    p50_us: Option<f64>,
    latency_us: Option<f64>,
    in_time: f64,
    rejected: f64,
    utilization: f64,
    /// `None` when nothing ran.
    batch_rows: Option<f64>,
}

/// Simulates one of several servers, once for each seed.
pub(super) fn predict(model: &Model, request: &PlanRequest, servers: u64) -> Prediction {
    let traffic = &request.traffic;
    let per_s = traffic.mean_per_s() / servers as f64;
    let share = request.objective.percentile / 100.0;
    let objective_us = request.objective.ms * 1e3;
    let results: Vec<SimulationResult> = (0..request.seeds)
        .map(|seed| {
            let arrivals = traffic.of_server(servers, seed);
            let scenario = model.scenario(arrivals, per_s, duration_us(traffic, per_s));
            SimulationResult::of(&simulate(&scenario, seed), share, objective_us)
        })
        .collect();
    summary(&results, request, model.error, servers)
}

fn duration_us(traffic: &Traffic, per_s: f64) -> u64 {
    let usual_s = (REQUESTS / per_s).clamp(SIMULATED_S_MIN, SIMULATED_S_MAX);
    let usual_us = (usual_s * 1e6) as u64;
    match traffic {
        Traffic::Poisson { .. } => usual_us,
        // Whole periods keep the mean.
        Traffic::Bursts { period_us, .. } => {
            let period_us = (*period_us).max(1);
            usual_us.div_ceil(period_us).max(BURSTS_MIN).saturating_mul(period_us)
        }
        Traffic::Recorded(times_us) => recorded_us(times_us),
    }
}

fn recorded_us(times_us: &[u64]) -> u64 {
    times_us.last().map_or(0, |last| last.saturating_add(1)).max(RECORDED_US_MIN)
}

impl Traffic {
    /// Mean requests a second.
    pub fn mean_per_s(&self) -> f64 {
        match self {
            Self::Poisson { per_s } | Self::Bursts { per_s, .. } => *per_s,
            Self::Recorded(times_us) => 1e6 * times_us.len() as f64 / recorded_us(times_us) as f64,
        }
    }

    /// All arrivals.
    pub fn arrivals(&self) -> Arrivals {
        self.of_server(1, 0)
    }

    /// Arrivals at one of several servers, each request going to a random one.
    pub(super) fn of_server(&self, servers: u64, seed: u64) -> Arrivals {
        let part = 1.0 / servers as f64;
        match self {
            Self::Poisson { per_s } => Arrivals::Poisson { per_s: per_s * part },
            Self::Bursts { per_s, times, on_us, period_us } => {
                let is_on = *on_us as f64 / (*period_us).max(1) as f64;
                let usual = per_s / (1.0 + (times - 1.0) * is_on);
                Arrivals::Bursts {
                    per_s: usual * part,
                    times: *times,
                    on_us: *on_us,
                    period_us: *period_us,
                }
            }
            Self::Recorded(times_us) => {
                let is_mine = |index: &usize| chance(*index as u64, seed) < part;
                let mine = (0..times_us.len()).filter(|index| servers == 1 || is_mine(index));
                Arrivals::Recorded(mine.map(|index| times_us[index]).collect())
            }
        }
    }
}

/// Random number from 0 to 1 for each request.
fn chance(index: u64, seed: u64) -> f64 {
    let bits = (index + 1).wrapping_mul(STEP) ^ seed.wrapping_mul(0xD1B5_4A32_D192_ED03);
    unit_interval(mix64(bits))
}

impl SimulationResult {
    fn of(outcome: &Outcome, share: f64, objective_us: f64) -> Self {
        let total = &outcome.total;
        let any = total.arrived > 0;
        let arrived = (total.arrived as f64).max(1.0);
        let in_time = total.latencies_us.partition_point(|&us| us as f64 <= objective_us);
        let rejected = total.rejected_full + total.rejected_overloaded + total.expired;
        Self {
            p50_us: any.then(|| total.latency_us(0.5) as f64),
            latency_us: any.then(|| total.latency_us(share).max(1) as f64),
            // An empty simulation has no late request.
            in_time: if any { in_time as f64 / arrived } else { 1.0 },
            rejected: rejected as f64 / arrived,
            utilization: outcome.utilization(),
            batch_rows: any.then(|| outcome.mean_batch_rows()),
        }
    }
}

fn summary(
    results: &[SimulationResult],
    request: &PlanRequest,
    error: f64,
    servers: u64,
) -> Prediction {
    let confidence = request.objective.confidence / 100.0;
    let mean = |of: fn(&SimulationResult) -> Option<f64>| {
        mean_and_error(results.iter().filter_map(of), confidence)
    };
    let (log_us, differ) = mean(|results| results.latency_us.map(f64::ln));
    // The two causes of error are independent.
    let off = student_quantile(1e6, confidence) * error;
    let about = (differ.powi(2) + off.powi(2)).sqrt();
    let (in_time, in_time_off) = mean(|results| Some(results.in_time));
    let latency_ms = |log_us: f64| log_us.exp() / 1e3;
    let in_time_low = (in_time - in_time_off).max(0.0);
    let latency_ms_high = latency_ms(log_us + about);
    let objective = request.objective;
    Prediction {
        servers,
        per_server_per_s: request.traffic.mean_per_s() / servers as f64,
        latency_ms_p50: mean(|results| results.p50_us).0 / 1e3,
        latency_ms: latency_ms(log_us),
        latency_ms_low: latency_ms(log_us - about),
        latency_ms_high,
        in_time,
        in_time_low,
        rejected: mean(|results| Some(results.rejected)).0,
        utilization: mean(|results| Some(results.utilization)).0,
        batch_rows_mean: mean(|results| results.batch_rows).0,
        meets_objective: latency_ms_high <= objective.ms
            && in_time_low >= objective.percentile / 100.0,
    }
}

/// Mean, and its error on either side at this confidence.
fn mean_and_error(values: impl Iterator<Item = f64>, confidence: f64) -> (f64, f64) {
    let values: Vec<f64> = values.collect();
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count.max(1.0);
    if values.len() < 2 {
        return (mean, 0.0);
    }
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (mean, student_quantile(count - 1.0, confidence) * (variance / count).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_keep_the_mean() {
        let traffic =
            Traffic::Bursts { per_s: 1_000.0, times: 5.0, on_us: 200_000, period_us: 2_000_000 };
        let count =
            traffic.of_server(2, 1).times(1).take_while(|&at_us| at_us < 100_000_000).count();
        assert!((48_500..51_500).contains(&count), "{count}");
        assert_eq!(duration_us(&traffic, 1_000.0) % 2_000_000, 0);
    }

    #[test]
    fn a_recording_is_shared_out_at_random() {
        let traffic = Traffic::Recorded((0..10_000).map(|n| n * 100).collect());
        assert!((traffic.mean_per_s() - 10_000.0).abs() < 2.0);
        let mine = |servers, seed| traffic.of_server(servers, seed).times(0).collect::<Vec<_>>();
        assert_eq!(mine(1, 1).len(), 10_000);
        assert!((2_350..2_650).contains(&mine(4, 1).len()), "{}", mine(4, 1).len());
        assert!(mine(4, 1) != mine(4, 2) && mine(4, 1).is_sorted());
    }

    #[test]
    fn a_recording_of_a_moment_is_one_of_a_second() {
        assert_eq!(Traffic::Recorded(vec![0]).mean_per_s(), 1.0);
        assert_eq!(Traffic::Recorded(vec![0, 0, 5]).mean_per_s(), 3.0);
        assert_eq!(duration_us(&Traffic::Recorded(vec![0]), 1.0), 1_000_000);
        let longer = Traffic::Recorded(vec![0, 1, 3_999_999]);
        assert_eq!((longer.mean_per_s(), duration_us(&longer, 0.75)), (0.75, 4_000_000));
    }

    #[test]
    fn the_mean_of_different_values_has_an_error() {
        assert_eq!(mean_and_error([2.0, 2.0, 2.0].into_iter(), 0.95), (2.0, 0.0));
        let (mean, error) = mean_and_error([1.0, 2.0, 3.0].into_iter(), 0.95);
        assert!(mean == 2.0 && (1.68..1.69).contains(&error), "{error}");
        assert_eq!(mean_and_error([7.0].into_iter(), 0.95), (7.0, 0.0));
    }
}
