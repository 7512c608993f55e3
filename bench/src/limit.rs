//! Limit of every server: ONNX Runtime called in this process, with bound buffers and nothing
//! around it.

use anyhow::Result;
use ort::environment::Environment;
use ort::session::{IoBinding, Session};
use ort::value::Tensor;
use skysail_loadtest::quantiles::median;
use std::path::Path;
use std::time::{Duration, Instant};

/// Fewest runs of a measurement.
const RUNS_MIN: usize = 10;

/// Session of ONNX Runtime with a bound batch, of a model with an input `input` and an output
/// `output`.
pub(crate) struct BoundSession {
    session: Session,
    binding: IoBinding,
    /// Rows of the batch.
    pub(crate) rows: usize,
    /// Threads of the session.
    pub(crate) threads: usize,
}

impl BoundSession {
    /// Opens a model whose rows have the shape `row`.
    pub(crate) fn open(
        environment: &Environment,
        model: &Path,
        row: &[usize],
        threads: usize,
        rows: usize,
    ) -> Result<Self> {
        let session = Session::builder(environment)?
            .with_independent_thread_pool()
            .map_err(|error| anyhow::anyhow!("{error}"))?
            .with_intra_threads(threads)
            .map_err(|error| anyhow::anyhow!("{error}"))?
            .commit_from_file(model)?;
        let shape: Vec<usize> = std::iter::once(rows).chain(row.iter().copied()).collect();
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|i| (i % 17) as f32 / 17.0).collect();
        let mut binding = session.create_binding()?;
        binding.bind_input("input", &Tensor::from_array((shape, values))?)?;
        let memory = session.allocator().memory_info().to_owned();
        binding.bind_output_to_device("output", &memory)?;
        Ok(Self { session, binding, rows, threads })
    }

    /// Runs the batch once.
    pub(crate) fn run(&mut self) -> Result<()> {
        self.session.run_binding(&self.binding)?;
        Ok(())
    }

    /// Median run time over a while, in microseconds.
    pub(crate) fn run_us(&mut self, duration: Duration) -> Result<f64> {
        let mut runs = Vec::new();
        let started = Instant::now();
        while started.elapsed() < duration || runs.len() < RUNS_MIN {
            let run = Instant::now();
            self.run()?;
            runs.push(run.elapsed().as_secs_f64() * 1e6);
        }
        Ok(median(&runs))
    }

    /// Rows a second over a while, in batches of this session.
    pub(crate) fn rows_per_s(&mut self, duration: Duration) -> Result<f64> {
        Ok(self.rows as f64 / self.run_us(duration)? * 1e6)
    }
}
