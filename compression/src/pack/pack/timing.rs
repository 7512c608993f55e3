//! Measures which of a float32 and an int8 model is faster on this machine.

use crate::data::first_rows;
use crate::session::{Session, Threads};
use anyhow::Result;
use serde::Serialize;
use skysail_compression::Batch;
use skysail_graph::{Model, Tensor};
use std::time::{Duration, Instant};

/// Runs of each model before the measured ones.
const WARM_UP: usize = 2;
/// Least and largest number of measured runs.
const ROUNDS: [usize; 2] = [5, 101];
/// Least speed-up of int8: less is noise, and not worth a loss.
const SPEEDUP_MIN: f64 = 1.02;
/// Time limit of a batch size after the least number of runs.
const DURATION_MAX: Duration = Duration::from_secs(2);

/// Median run times of one batch size on one thread, in milliseconds.
#[derive(Debug, Clone, Serialize)]
pub(super) struct BatchTimes {
    pub(super) rows: u64,
    pub(super) float32_ms: f64,
    pub(super) int8_ms: f64,
}

/// Times both models on one row and on the whole batch.
pub(super) fn time_models(float32: &Model, int8: &Model, batch: &Batch) -> Result<Vec<BatchTimes>> {
    let mut sessions = [start(float32)?, start(int8)?];
    let one = first_rows(batch, 1)?;
    let rows = |batch: &Batch| {
        let first = batch.first().and_then(|(_, tensor)| tensor.shape().first().copied());
        first.unwrap_or(1)
    };
    let mut times_by_size = vec![time_batch(&mut sessions, &one, rows(&one))?];
    if rows(batch) > rows(&one) {
        times_by_size.push(time_batch(&mut sessions, batch, rows(batch))?);
    }
    Ok(times_by_size)
}

/// Returns true if int8 is faster, and not by chance: the geometric mean over the sizes decides.
pub(super) fn is_faster(times_by_size: &[BatchTimes]) -> bool {
    let gain = |cell: &BatchTimes| (cell.float32_ms / cell.int8_ms / SPEEDUP_MIN).ln();
    times_by_size.iter().map(gain).sum::<f64>() > 0.0
}

impl BatchTimes {
    /// Formats the times.
    pub(super) fn describe(&self) -> String {
        let Self { rows, float32_ms, int8_ms } = self;
        format!("batch {rows}: float32 {float32_ms:.3} ms, int8 {int8_ms:.3} ms")
    }
}

fn start(model: &Model) -> Result<Session> {
    Session::as_served(model, Threads::One).map_err(anyhow::Error::from_boxed)
}

/// Times both models on one batch. They take turns, so that other load of the machine slows both.
fn time_batch(sessions: &mut [Session; 2], batch: &Batch, rows: u64) -> Result<BatchTimes> {
    let tensors: Vec<Tensor> = batch.iter().map(|(_, tensor)| tensor.clone()).collect();
    let mut times = [Vec::new(), Vec::new()];
    let started = Instant::now();
    for round in 0..WARM_UP + ROUNDS[1] {
        for (session, times) in sessions.iter_mut().zip(&mut times) {
            let inputs = session.prepare(&tensors).map_err(anyhow::Error::from_boxed)?;
            let time = session.time(&inputs).map_err(anyhow::Error::from_boxed)?;
            if round >= WARM_UP {
                times.push(time);
            }
        }
        if times[0].len() >= ROUNDS[0] && started.elapsed() > DURATION_MAX {
            break;
        }
    }
    let [float32_ms, int8_ms] = times.map(median_ms);
    Ok(BatchTimes { rows, float32_ms, int8_ms })
}

fn median_ms(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times.get(times.len() / 2).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_over_batch_sizes_decides() {
        let cell = |float32_ms, int8_ms| BatchTimes { rows: 1, float32_ms, int8_ms };
        assert!(is_faster(&[cell(1.0, 1.1), cell(4.0, 2.0)]));
        assert!(!is_faster(&[cell(1.0, 2.0), cell(4.0, 3.0)]));
        assert!(!is_faster(&[cell(1.01, 1.0)]), "by chance");
        assert!(!is_faster(&[]));
    }

    #[test]
    fn the_median_is_the_middle_time() {
        let times = [9, 1, 2].map(Duration::from_millis).to_vec();
        assert_eq!(median_ms(times), 2.0);
    }
}
