//! Measures the run time of layers on this machine, dense and sparse, on one thread. Times are CPU
//! times, as a thread that loads has a low priority and may wait for a core.
//!
//! A sparse layer first runs once alone. If even that cold run is well below the lower bound of a
//! dense layer of its size, the measurement ends. Otherwise both forms run in turns in ONNX Runtime.

use super::batch_sizes::BatchShapes;
use super::dense_bound::{self, dense_bound_us};
use super::kernel::Kernel;
use super::layer::Candidate;
use super::layer_models;
use super::operation::Operation;
use crate::layers::LayerTimes;
use ort::environment::Environment;
use skysail_kernels::{
    ConvInput, Finish, Images, KernelError, Limits, Scratch, Serial, min_cpu_times, thread_cpu_time,
};
use std::time::Duration;

/// Factor by which a sparse run must beat the dense bound to need no comparison.
const CLEAR_GAIN: f64 = 1.25;

/// Run time above which time grows in proportion to the batch, so that larger batches are not
/// measured.
const LONG_US: f64 = 5_000.0;

/// Batch sizes at which convolutions are measured. One image has many rows already, and variants of
/// the whole model are compared later.
const CONVOLUTION_SIZES: usize = 2;

/// Elements of the largest input or output that is measured.
const VALUES_MAX: usize = 1 << 26;

/// Limits of comparing both forms of a layer at one batch size.
const COMPARISON: Limits = Limits { rounds: 5, time: Duration::from_millis(10) };

/// Total time for comparisons of one model. Later layers are still checked against the dense bound.
const COMPARISONS_TIME: Duration = Duration::from_secs(2);

/// Measures the layers of one model.
pub(super) struct Measurer<'a> {
    environment: &'a Environment,
    scratch: Scratch,
    comparing: Duration,
}

/// A layer at one batch size.
struct Run<'a> {
    operation: Operation,
    kernel: &'a Kernel,
    x: &'a [usize],
}

impl<'a> Measurer<'a> {
    pub(super) fn new(environment: &'a Environment) -> Self {
        Self { environment, scratch: Scratch::default(), comparing: Duration::ZERO }
    }

    /// True if the time for comparisons is over.
    pub(super) fn is_over(&self) -> bool {
        self.comparing > COMPARISONS_TIME
    }

    /// Run times of a layer at growing batch sizes, up to the size above which time is proportional.
    /// Empty if the input's shape is not known, or if time for comparisons runs out.
    pub(super) fn times(
        &mut self,
        layer: &Candidate,
        kernel: &Kernel,
        sizes: &[BatchShapes],
    ) -> Result<Vec<LayerTimes>, KernelError> {
        let mut all = Vec::new();
        let sizes = match layer.operation {
            Operation::Product(_) => sizes,
            Operation::Convolution { .. } => &sizes[..sizes.len().min(CONVOLUTION_SIZES)],
        };
        for size in sizes {
            let Some(x) = size.shape(&layer.input) else { return Ok(Vec::new()) };
            let run = Run { operation: layer.operation, kernel, x: &x };
            let Some(times) = self.time(size.batch, &run)? else { return Ok(Vec::new()) };
            all.push(times);
            if times.sparse_us.min(times.dense_us) > LONG_US {
                break;
            }
        }
        Ok(all)
    }

    fn time(&mut self, batch: usize, run: &Run<'_>) -> Result<Option<LayerTimes>, KernelError> {
        let Some(sparse_us) = run.sparse_us(&mut self.scratch)? else { return Ok(None) };
        if let Some((rows, multiplications)) = run.work() {
            let least = dense_bound_us(self.environment, rows, multiplications)?;
            if sparse_us * CLEAR_GAIN < least {
                let times = LayerTimes { batch, sparse_us, dense_us: least, dense_is_bound: true };
                return Ok(Some(times));
            }
        }
        if self.is_over() {
            return Ok(None);
        }
        let started = thread_cpu_time();
        let (sparse_us, dense_us) = run.compare(self.environment)?;
        self.comparing += thread_cpu_time().saturating_sub(started);
        Ok(Some(LayerTimes { batch, sparse_us, dense_us, dense_is_bound: false }))
    }
}

impl Run<'_> {
    /// Time of one run of the kernel; `None` if the input is too large or does not fit the layer.
    fn sparse_us(&self, scratch: &mut Scratch) -> Result<Option<f64>, KernelError> {
        let Some((x_len, y_len)) = self.values() else { return Ok(None) };
        let (x, mut y) = (vec![0.5; x_len], vec![0.0; y_len]);
        let finish = Finish::default();
        let started = thread_cpu_time();
        match (self.kernel, self.images()) {
            (Kernel::Product(matrix), _) => {
                matrix.multiply(&x, &mut y, finish, scratch, &Serial)?;
            }
            (Kernel::Convolution(convolution), Some(images)) => {
                let input = ConvInput { x: &x, images, residual: None };
                convolution.convolve(input, &mut y, finish, scratch, &Serial)?;
            }
            (Kernel::Convolution(_), None) => return Ok(None),
        }
        Ok(Some(thread_cpu_time().saturating_sub(started).as_secs_f64() * 1e6))
    }

    /// Elements of the input and the output; `None` if they are too many.
    fn values(&self) -> Option<(usize, usize)> {
        let product = |sizes: &[usize]| {
            sizes.iter().try_fold(1_usize, |product, size| product.checked_mul(*size))
        };
        let x_len = product(self.x)?;
        let y_len = match self.operation {
            Operation::Product(_) => self.rows()?.checked_mul(self.operation.outputs())?,
            Operation::Convolution { outputs, .. } => outputs.checked_mul(self.rows()?)?,
        };
        (x_len <= VALUES_MAX && y_len <= VALUES_MAX).then_some((x_len, y_len))
    }

    /// The input of a convolution as images.
    fn images(&self) -> Option<Images> {
        match (self.operation, self.x) {
            (Operation::Convolution { rank: 1, .. }, &[count, _, width]) => {
                Some(Images { count, height: 1, width })
            }
            (Operation::Convolution { rank: 2, .. }, &[count, _, height, width]) => {
                Some(Images { count, height, width })
            }
            _ => None,
        }
    }

    /// Number of times that each weight is multiplied.
    fn rows(&self) -> Option<usize> {
        match self.operation {
            Operation::Product(_) => {
                let (_, rows) = self.x.split_last()?;
                rows.iter().try_fold(1_usize, |product, size| product.checked_mul(*size))
            }
            Operation::Convolution { convolution, .. } => {
                let output = convolution.output(self.images()?).ok()?;
                output.count.checked_mul(output.pixels())
            }
        }
    }

    /// Rows and multiplications of the equivalent dense product. `None` if it is too small for the
    /// dense bound.
    fn work(&self) -> Option<(usize, f64)> {
        let rows = self.rows()?;
        let weights = self.operation.outputs() as f64 * self.operation.inputs() as f64;
        let multiplications = weights * rows as f64;
        let is_large = match self.operation {
            Operation::Product(_) => weights >= dense_bound::WEIGHTS_MIN as f64,
            Operation::Convolution { .. } => {
                rows >= dense_bound::ROWS_MAX && multiplications >= dense_bound::WEIGHTS_MIN as f64
            }
        };
        is_large.then_some((rows, multiplications))
    }

    /// Measures both forms, sparse and dense, by running them in turns.
    fn compare(&self, environment: &Environment) -> Result<(f64, f64), KernelError> {
        let mut sparse = layer_models::sparse(environment, self.kernel, self.x)?;
        let (mut dense, factor) = layer_models::dense(environment, self.operation, self.x)?;
        let times = min_cpu_times(&mut [&mut || sparse.run(), &mut || dense.run()], COMPARISON)?;
        let us = |index: usize| times.get(index).map_or(0.0, |time| time.as_secs_f64() * 1e6);
        Ok((us(0), us(1) * factor))
    }
}
