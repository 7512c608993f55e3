//! Limit of every server: ONNX Runtime called in this process, with bound buffers and nothing
//! around it.

use anyhow::Result;
use ort::environment::Environment;
use ort::session::Session;
use ort::value::Tensor;
use skysail_loadtest::quantiles::median;
use std::path::Path;
use std::time::{Duration, Instant};

/// Duration of each measurement.
const WINDOW: Duration = Duration::from_millis(800);

/// Result of one batch size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    /// Rows of the batch.
    pub(crate) rows: usize,
    /// Threads of the session.
    pub(crate) threads: usize,
    /// Median run time.
    pub(crate) run_us: f64,
}

impl Limit {
    /// Rows a second.
    pub(crate) fn rows_per_s(&self) -> f64 {
        self.rows as f64 / self.run_us * 1e6
    }
}

/// Times runs of a model with an input `input` of `width` floats and an output `output`.
pub(crate) fn measure(
    environment: &Environment,
    model: &Path,
    width: usize,
    threads: usize,
    rows: usize,
) -> Result<Limit> {
    let mut session = Session::builder(environment)?
        .with_independent_thread_pool()
        .map_err(|error| anyhow::anyhow!("{error}"))?
        .with_intra_threads(threads)
        .map_err(|error| anyhow::anyhow!("{error}"))?
        .commit_from_file(model)?;
    let values: Vec<f32> = (0..rows * width).map(|i| (i % 17) as f32 / 17.0).collect();
    let mut binding = session.create_binding()?;
    binding.bind_input("input", &Tensor::from_array(([rows, width], values))?)?;
    let memory = session.allocator().memory_info().to_owned();
    binding.bind_output_to_device("output", &memory)?;
    let mut runs = Vec::new();
    let started = Instant::now();
    while started.elapsed() < WINDOW || runs.len() < 10 {
        let run = Instant::now();
        drop(session.run_binding(&binding)?);
        runs.push(run.elapsed().as_secs_f64() * 1e6);
    }
    Ok(Limit { rows, threads, run_us: median(&runs) })
}
