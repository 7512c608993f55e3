//! Lower bound on the run time of dense layers on this machine, from one product that is measured
//! once a process.

use super::layer_models;
use ort::environment::Environment;
use parking_lot::Mutex;
use skysail_kernels::{KernelError, Limits, Probe, min_cpu_times};
use std::collections::BTreeMap;
use std::time::Duration;

/// Inputs and outputs of the product. Its 4 MiB of weights fit a near cache, and its rows are long
/// enough to hide other costs.
const SIDE: usize = 1024;

/// Weights of the smallest layer that the bound holds for.
pub(super) const WEIGHTS_MIN: usize = SIDE * SIDE;

/// Rows above which a product does not become more efficient.
pub(super) const ROWS_MAX: usize = 64;

const LIMITS: Limits = Limits { rounds: 8, time: Duration::from_millis(10) };

/// Measured microseconds for one multiplication, by number of rows.
static MEASURED: Mutex<BTreeMap<usize, f64>> = Mutex::new(BTreeMap::new());

/// Lower bound in microseconds for a product of `rows` rows with this many multiplications, run by
/// ONNX Runtime on one thread.
pub(super) fn dense_bound_us(
    environment: &Environment,
    rows: usize,
    multiplications: f64,
) -> Result<f64, KernelError> {
    let rows = rows.clamp(1, ROWS_MAX);
    let mut measured = MEASURED.lock();
    let each = match measured.get(&rows) {
        Some(each) => *each,
        None => {
            let each = measure(environment, rows)?;
            measured.insert(rows, each);
            each
        }
    };
    Ok(each * multiplications)
}

fn measure(environment: &Environment, rows: usize) -> Result<f64, KernelError> {
    let model = layer_models::dense_product(2, SIDE, SIDE)?;
    let mut product = Probe::new(layer_models::builder(environment)?, &model, &[rows, SIDE])?;
    let times = min_cpu_times(&mut [&mut || product.run()], LIMITS)?;
    let us = times.first().map_or(0.0, |time| time.as_secs_f64() * 1e6);
    Ok(us / (rows * WEIGHTS_MIN) as f64)
}
