//! What servers of the measured kind make of a load: the model simulated several times, and how far
//! the simulations differ.

use super::model::Model;
use super::{Question, Traffic};
use crate::confidence::student_quantile;
use skysail_policy::simulate::{Arrivals, Outcome, simulate};

/// Requests of one simulation, about, and how long it takes at least and at most.
const REQUESTS: f64 = 30_000.0;
const SIMULATED_S_MIN: f64 = 2.0;
const SIMULATED_S_MAX: f64 = 600.0;
/// Bursts that a simulation has at least.
const BURSTS_MIN: u64 = 10;
/// A recording is taken to be this long at least: in less time there is no rate.
const RECORDED_US_MIN: u64 = 1_000_000;

/// What is predicted for each of several servers, and so for all requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Prediction {
    /// Servers that share the load evenly.
    pub servers: u64,
    /// Requests a second of each.
    pub per_server_per_s: f64,
    /// Half of the latencies are at most this.
    pub latency_ms_p50: f64,
    /// The latency at the objective's percentile.
    pub latency_ms: f64,
    /// It is at least this...
    pub latency_ms_low: f64,
    /// ...and at most this, with the confidence that was asked for: how far simulations differ and
    /// how far the model was from what was measured.
    pub latency_ms_high: f64,
    /// The part of the requests that is answered within the objective.
    pub in_time: f64,
    /// It is at least this, as far as simulations differ.
    pub in_time_low: f64,
    /// The part of the requests that is turned down.
    pub refused: f64,
    /// The part of the time that the replicas of a server run.
    pub utilisation: f64,
    /// Rows of a batch on average.
    pub batch_rows_mean: f64,
    /// Whether the objective is kept, with the confidence that was asked for.
    pub keeps: bool,
}

/// What one simulation says.
struct Seen {
    /// `None` when no request came.
    p50_us: Option<f64>,
    latency_us: Option<f64>,
    in_time: f64,
    refused: f64,
    utilisation: f64,
    /// `None` when nothing ran.
    batch_rows: Option<f64>,
}

/// Simulates one of so many servers, once for each seed.
pub(super) fn predict(model: &Model, question: &Question, servers: u64) -> Prediction {
    let traffic = &question.traffic;
    let per_s = traffic.mean_per_s() / servers as f64;
    let share = question.objective.percentile / 100.0;
    let objective_us = question.objective.ms * 1e3;
    let seen: Vec<Seen> = (0..question.seeds)
        .map(|seed| {
            let arrivals = traffic.of_server(servers, seed);
            let scenario = model.scenario(arrivals, per_s, duration_us(traffic, per_s));
            Seen::of(&simulate(&scenario, seed), share, objective_us)
        })
        .collect();
    summary(&seen, question, model.error, servers)
}

fn duration_us(traffic: &Traffic, per_s: f64) -> u64 {
    let usual_s = (REQUESTS / per_s).clamp(SIMULATED_S_MIN, SIMULATED_S_MAX);
    let usual_us = (usual_s * 1e6) as u64;
    match traffic {
        Traffic::Poisson { .. } => usual_us,
        // Whole periods, or the mean would be another.
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
    /// Requests a second on average.
    pub fn mean_per_s(&self) -> f64 {
        match self {
            Self::Poisson { per_s } | Self::Bursts { per_s, .. } => *per_s,
            Self::Recorded(times_us) => 1e6 * times_us.len() as f64 / recorded_us(times_us) as f64,
        }
    }

    /// When they come, all of them.
    pub fn arrivals(&self) -> Arrivals {
        self.of_server(1, 0)
    }

    /// Those that one of several servers gets, to which they are handed out at random.
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

/// A number from 0 to 1 for each request, by the finaliser of SplitMix64.
fn chance(index: u64, seed: u64) -> f64 {
    let mut bits =
        (index + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ seed.wrapping_mul(0xD1B5_4A32_D192_ED03);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

impl Seen {
    fn of(outcome: &Outcome, share: f64, objective_us: f64) -> Self {
        let total = &outcome.total;
        let any = total.arrived > 0;
        let arrived = (total.arrived as f64).max(1.0);
        let in_time = total.latencies_us.partition_point(|&us| us as f64 <= objective_us);
        let refused = total.rejected_full + total.rejected_overloaded + total.expired;
        Self {
            p50_us: any.then(|| total.latency_us(0.5) as f64),
            latency_us: any.then(|| total.latency_us(share).max(1) as f64),
            // Where no request came, none was late.
            in_time: if any { in_time as f64 / arrived } else { 1.0 },
            refused: refused as f64 / arrived,
            utilisation: outcome.utilization(),
            batch_rows: any.then(|| outcome.mean_batch_rows()),
        }
    }
}

fn summary(seen: &[Seen], question: &Question, error: f64, servers: u64) -> Prediction {
    let confidence = question.objective.confidence / 100.0;
    let mean =
        |of: fn(&Seen) -> Option<f64>| mean_and_error(seen.iter().filter_map(of), confidence);
    let (log_us, differ) = mean(|seen| seen.latency_us.map(f64::ln));
    // Two causes of error that have nothing to do with each other.
    let off = student_quantile(1e6, confidence) * error;
    let about = (differ.powi(2) + off.powi(2)).sqrt();
    let (in_time, in_time_off) = mean(|seen| Some(seen.in_time));
    let latency_ms = |log_us: f64| log_us.exp() / 1e3;
    let in_time_low = (in_time - in_time_off).max(0.0);
    let latency_ms_high = latency_ms(log_us + about);
    let objective = question.objective;
    Prediction {
        servers,
        per_server_per_s: question.traffic.mean_per_s() / servers as f64,
        latency_ms_p50: mean(|seen| seen.p50_us).0 / 1e3,
        latency_ms: latency_ms(log_us),
        latency_ms_low: latency_ms(log_us - about),
        latency_ms_high,
        in_time,
        in_time_low,
        refused: mean(|seen| Some(seen.refused)).0,
        utilisation: mean(|seen| Some(seen.utilisation)).0,
        batch_rows_mean: mean(|seen| seen.batch_rows).0,
        keeps: latency_ms_high <= objective.ms && in_time_low >= objective.percentile / 100.0,
    }
}

/// The mean, and how far the true one may be on either side with this confidence.
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
    fn the_mean_of_what_differs_is_not_sure() {
        assert_eq!(mean_and_error([2.0, 2.0, 2.0].into_iter(), 0.95), (2.0, 0.0));
        let (mean, error) = mean_and_error([1.0, 2.0, 3.0].into_iter(), 0.95);
        assert!(mean == 2.0 && (1.68..1.69).contains(&error), "{error}");
        assert_eq!(mean_and_error([7.0].into_iter(), 0.95), (7.0, 0.0));
    }
}
