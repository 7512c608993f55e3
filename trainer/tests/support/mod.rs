//! Learners with known gradients, and data for them.

#![allow(dead_code, reason = "each test program uses some of it")]
#![expect(clippy::panic, reason = "a test panics")]

pub(crate) mod strategies;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use skysail_trainer::{Batch, EntryKind, Input, Layout, Learner, Targets, TrainError, Values};

/// Linear regression with mean square error, and the running mean of its inputs.
pub(crate) struct Regression {
    layout: Layout,
    width: usize,
    /// Steps until it fails.
    pub(crate) fails_in: Option<usize>,
}

/// Share of the running mean that is kept in a step.
const KEPT: f32 = 0.9;

impl Regression {
    pub(crate) fn new(width: usize) -> Self {
        let mut layout = Layout::default();
        layout.push("weight", &[width], EntryKind::Weight);
        layout.push("bias", &[1], EntryKind::Bias);
        layout.push("mean", &[1], EntryKind::Statistic);
        Self { layout, width, fails_in: None }
    }

    /// The regression without the running mean.
    pub(crate) fn plain(width: usize) -> Self {
        let mut layout = Layout::default();
        layout.push("weight", &[width], EntryKind::Weight);
        layout.push("bias", &[1], EntryKind::Bias);
        Self { layout, width, fails_in: None }
    }

    fn rows<'a>(&self, input: &'a Input) -> impl Iterator<Item = &'a [f32]> + use<'a> {
        let Values::Float32(values) = &input.values else { panic!("numbers only") };
        values.chunks_exact(self.width)
    }

    fn output(&self, parameters: &[f32], row: &[f32]) -> f32 {
        let weights = parameters[..self.width].iter().zip(row);
        weights.map(|(weight, value)| weight * value).sum::<f32>() + parameters[self.width]
    }
}

impl Learner for Regression {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn gradients_as_ready(
        &mut self,
        parameters: &[f32],
        batch: &Batch,
        ready: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<f32, TrainError> {
        if let Some(left) = &mut self.fails_in {
            if *left == 0 {
                let what = "the loss".to_owned();
                return Err(TrainError::NotFinite { what, value: f32::NAN });
            }
            *left -= 1;
        }
        let Targets::Numbers(targets) = &batch.targets else { panic!("numbers only") };
        let count = batch.rows() as f32;
        let (mut loss, mut seen) = (0.0, 0.0);
        let mut weights = vec![0.0; self.width];
        let mut bias = 0.0;
        for (row, target) in self.rows(&batch.input).zip(targets) {
            let error = self.output(parameters, row) - target;
            loss += error * error / count;
            bias += 2.0 * error / count;
            weights.iter_mut().zip(row).for_each(|(w, value)| *w += 2.0 * error * value / count);
            seen += row.iter().sum::<f32>() / self.width as f32 / count;
        }
        if self.layout.entries().len() == 3 {
            ready(2, &[(1.0 - KEPT) * (parameters[self.width + 1] - seen)]);
        }
        ready(1, &[bias]);
        ready(0, &weights);
        Ok(loss)
    }

    fn predict(&mut self, parameters: &[f32], input: &Input) -> Result<Vec<f32>, TrainError> {
        Ok(self.rows(input).map(|row| self.output(parameters, row)).collect())
    }
}

/// A learner whose gradients are noise, determined by the batch and independent of the parameters.
pub(crate) struct Noise {
    layout: Layout,
}

impl Noise {
    pub(crate) fn new(layers: &[usize]) -> Self {
        let mut layout = Layout::default();
        for (layer, len) in layers.iter().enumerate() {
            layout.push(format!("weight {layer}"), &[*len], EntryKind::Weight);
            layout.push(format!("bias {layer}"), &[len.div_ceil(100)], EntryKind::Bias);
        }
        Self { layout }
    }

    /// A batch that holds only a seed.
    pub(crate) fn batch(seed: u64) -> Batch {
        let input = Input { shape: vec![1, 1], values: Values::Int64(vec![seed as i64]) };
        Batch { input, targets: Targets::Classes(vec![0]) }
    }
}

impl Learner for Noise {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn gradients_as_ready(
        &mut self,
        _parameters: &[f32],
        batch: &Batch,
        ready: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<f32, TrainError> {
        let Values::Int64(seed) = &batch.input.values else { panic!("a seed only") };
        let mut random = StdRng::seed_from_u64(seed[0] as u64);
        for (index, entry) in self.layout.entries().iter().enumerate().rev() {
            // A few numbers are much larger than most, as in real gradients.
            let numbers: Vec<_> =
                entry.range.clone().map(|_| (random.random::<f32>() * 2.0 - 1.0).powi(9)).collect();
            ready(index, &numbers);
        }
        Ok(1.0)
    }

    fn predict(&mut self, _parameters: &[f32], _input: &Input) -> Result<Vec<f32>, TrainError> {
        Ok(Vec::new())
    }
}

/// Rows of a linear function with some noise.
pub(crate) fn batch(width: usize, rows: usize, seed: u64) -> Batch {
    let mut random = StdRng::seed_from_u64(seed);
    let mut number = || random.random::<f32>() * 2.0 - 1.0;
    let mut values = Vec::new();
    let mut targets = Vec::new();
    for _ in 0..rows {
        let row: Vec<f32> = (0..width).map(|_| number()).collect();
        let exact: f32 = row.iter().enumerate().map(|(at, value)| value * (at as f32 - 1.5)).sum();
        targets.push(exact + 0.5 + 0.01 * number());
        values.extend(row);
    }
    let input = Input { shape: vec![rows, width], values: Values::Float32(values) };
    Batch { input, targets: Targets::Numbers(targets) }
}

/// Joins batches.
pub(crate) fn joined(batches: &[Batch]) -> Batch {
    let mut all = batches[0].clone();
    for batch in &batches[1..] {
        all.input.shape[0] += batch.rows();
        let (Values::Float32(to), Values::Float32(more)) =
            (&mut all.input.values, &batch.input.values)
        else {
            panic!("numbers only")
        };
        to.extend(more);
        let (Targets::Numbers(to), Targets::Numbers(more)) = (&mut all.targets, &batch.targets)
        else {
            panic!("numbers only")
        };
        to.extend(more);
    }
    all
}

/// Asserts that all numbers are nearly equal.
pub(crate) fn assert_near(left: &[f32], right: &[f32], tolerance: f32) {
    assert_eq!(left.len(), right.len());
    for (at, (a, b)) in left.iter().zip(right).enumerate() {
        let within = (a - b).abs() <= tolerance * (1.0 + a.abs().max(b.abs()));
        assert!(within, "number {at}: {a} and {b}");
    }
}

/// Selects rows of a batch.
pub(crate) fn chosen(batch: &Batch, width: usize, rows: impl Iterator<Item = usize>) -> Batch {
    let (Values::Float32(values), Targets::Numbers(targets)) =
        (&batch.input.values, &batch.targets)
    else {
        panic!("numbers only")
    };
    let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
    for row in rows {
        inputs.extend(&values[row * width..(row + 1) * width]);
        outputs.push(targets[row]);
    }
    let input = Input { shape: vec![outputs.len(), width], values: Values::Float32(inputs) };
    Batch { input, targets: Targets::Numbers(outputs) }
}
