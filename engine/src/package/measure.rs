//! How long layers run on this machine, on one thread, dense and sparse. Times are those in which
//! the thread has a core: whoever loads a model has a low priority, and others may be busy.
//!
//! A sparse layer is run by itself first. Where even that run, which finds nothing prepared, is
//! well below the least that a dense layer of its size can take, that is enough. Otherwise both
//! forms run in turns in ONNX Runtime.

use super::floor::{self, floor_us};
use super::kernel::Kernel;
use super::layer::{Candidate, Operation};
use super::probe;
use super::sizes::Size;
use crate::layers::LayerTimes;
use ort::environment::Environment;
use skysail_kernels::{
    ConvInput, Finish, Images, KernelError, Limits, Scratch, Serial, least, thread_time,
};
use std::time::Duration;

/// How far below the least dense time a sparse one must be to need no comparison.
const CLEAR: f64 = 1.25;

/// Longer runs grow in proportion to the batch, so that larger batches need not be measured.
const LONG_US: f64 = 5_000.0;

/// Sizes at which convolutions are measured: one image has many rows already, and whether they
/// gain is seen in the whole model once more.
const CONVOLUTION_SIZES: usize = 2;

/// Values of the largest input or output that is measured.
const VALUES_MAX: usize = 1 << 26;

/// For comparing both forms of a layer at one batch size.
const COMPARISON: Limits = Limits { rounds: 5, time: Duration::from_millis(10) };

/// For comparisons of all layers of a model. Layers that are clear without one still are.
const MODEL_TIME: Duration = Duration::from_secs(2);

/// Measures the layers of one model.
pub(super) struct Measurer<'a> {
    environment: &'a Environment,
    scratch: Scratch,
    comparing: Duration,
}

/// One layer at one batch size.
struct Run<'a> {
    operation: Operation,
    kernel: &'a Kernel,
    x: &'a [usize],
}

impl<'a> Measurer<'a> {
    pub(super) fn new(environment: &'a Environment) -> Self {
        Self { environment, scratch: Scratch::default(), comparing: Duration::ZERO }
    }

    /// Whether the time for comparisons is over.
    pub(super) fn is_over(&self) -> bool {
        self.comparing > MODEL_TIME
    }

    /// The layer's times at growing batch sizes, as far as they tell something new. None at all
    /// when its input's size is not known, or time is over before it was compared at each.
    pub(super) fn times(
        &mut self,
        layer: &Candidate,
        kernel: &Kernel,
        sizes: &[Size],
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
            let least = floor_us(self.environment, rows, multiplications)?;
            if sparse_us * CLEAR < least {
                let times = LayerTimes { batch, sparse_us, dense_us: least, dense_is_bound: true };
                return Ok(Some(times));
            }
        }
        if self.is_over() {
            return Ok(None);
        }
        let started = thread_time();
        let (sparse_us, dense_us) = run.compare(self.environment)?;
        self.comparing += thread_time().saturating_sub(started);
        Ok(Some(LayerTimes { batch, sparse_us, dense_us, dense_is_bound: false }))
    }
}

impl Run<'_> {
    /// The time of one run of the kernel. `None` when the input is too large, or is none of the
    /// layer's.
    fn sparse_us(&self, scratch: &mut Scratch) -> Result<Option<f64>, KernelError> {
        let Some((x_len, y_len)) = self.values() else { return Ok(None) };
        let (x, mut y) = (vec![0.5; x_len], vec![0.0; y_len]);
        let finish = Finish::default();
        let started = thread_time();
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
        Ok(Some(thread_time().saturating_sub(started).as_secs_f64() * 1e6))
    }

    /// The numbers of the input and the output, if they are not too many.
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

    /// The images that the input of a convolution is.
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

    /// How often each weight is multiplied.
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

    /// The rows of the product that the layer is, when dense, and its multiplications. `None` for
    /// one that is too small to compare with a large product.
    fn work(&self) -> Option<(usize, f64)> {
        let rows = self.rows()?;
        let weights = self.operation.outputs() as f64 * self.operation.inputs() as f64;
        let multiplications = weights * rows as f64;
        let is_large = match self.operation {
            Operation::Product(_) => weights >= floor::WEIGHTS_MIN as f64,
            Operation::Convolution { .. } => {
                rows >= floor::ROWS_MAX && multiplications >= floor::WEIGHTS_MIN as f64
            }
        };
        is_large.then_some((rows, multiplications))
    }

    /// The times of both forms, sparse and dense, by running them in turns.
    fn compare(&self, environment: &Environment) -> Result<(f64, f64), KernelError> {
        let mut sparse = probe::sparse(environment, self.kernel, self.x)?;
        let (mut dense, times_longer) = probe::dense(environment, self.operation, self.x)?;
        let times = least(&mut [&mut || sparse.run(), &mut || dense.run()], COMPARISON)?;
        let us = |index: usize| times.get(index).map_or(0.0, |time| time.as_secs_f64() * 1e6);
        Ok((us(0), us(1) * times_longer))
    }
}
