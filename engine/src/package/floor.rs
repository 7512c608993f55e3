//! The least time that dense layers take on this machine, by a product that is measured once a
//! process.

use super::probe;
use ort::environment::Environment;
use parking_lot::Mutex;
use skysail_kernels::{KernelError, Limits, Probe, least};
use std::collections::BTreeMap;
use std::time::Duration;

/// The product's inputs and outputs. Its weights, 4 MiB, lie in a near cache, and rows are long
/// enough that nothing else counts.
const SIDE: usize = 1024;

/// The least number of weights of layers that it tells something of.
pub(super) const WEIGHTS_MIN: usize = SIDE * SIDE;

/// More rows do not make a product any better.
pub(super) const ROWS_MAX: usize = 64;

const LIMITS: Limits = Limits { rounds: 8, time: Duration::from_millis(10) };

/// Microseconds a multiplication at numbers of rows, as they were measured.
static MEASURED: Mutex<BTreeMap<usize, f64>> = Mutex::new(BTreeMap::new());

/// The least microseconds that ONNX Runtime takes, on one thread, for so many multiplications of
/// a product of so many rows.
pub(super) fn floor_us(
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
    let model = probe::dense_product(2, SIDE, SIDE)?;
    let mut product = Probe::new(probe::builder(environment)?, &model, &[rows, SIDE])?;
    let times = least(&mut [&mut || product.run()], LIMITS)?;
    let us = times.first().map_or(0.0, |time| time.as_secs_f64() * 1e6);
    Ok(us / (rows * WEIGHTS_MIN) as f64)
}
