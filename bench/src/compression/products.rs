//! Fully connected layers of Deep Compression (Han et al. 2016, tables 4 and 5) at its densities.

use super::operators::{Matrix, floats};
use super::timed::{Timed, times};
use super::{Bench, Figure, least, mean};
use crate::targets::Target;
use anyhow::Result;
use ort::environment::Environment;
use skysail_kernels::{Formats, LEVEL_VARIABLE, Level, Limits, OperatorWeights, SparseMatrix};
use std::io::Write;
use std::sync::Arc;

/// Name, inputs, outputs, density.
const LAYERS: [(&str, usize, usize, f64); 6] = [
    ("AlexNet fc6", 9216, 4096, 0.09),
    ("AlexNet fc7", 4096, 4096, 0.09),
    ("AlexNet fc8", 4096, 1000, 0.25),
    ("VGG-16 fc6", 25088, 4096, 0.04),
    ("VGG-16 fc7", 4096, 4096, 0.04),
    ("VGG-16 fc8", 4096, 1000, 0.23),
];

/// Batch sizes.
const BATCHES: [usize; 3] = [1, 16, 64];

/// Least geometric means of the speed-ups at these sizes, with AVX-512 and without.
const GAINS_MIN: [f64; 3] = [6.0, 4.0, 1.5];
const GAINS_MIN_AVX2: [f64; 3] = [5.0, 3.0, 1.5];

/// Greatest difference of a float kernel's result from the dense one.
const ERROR_MAX: f64 = 1e-5;

/// Prints the table.
pub(super) fn table(out: &mut impl Write, bench: &Bench) -> Result<Vec<Figure>> {
    let level = Level::best();
    let limit = std::env::var(LEVEL_VARIABLE).map_or_else(
        |_| "what this processor has".to_owned(),
        |limit| format!("{LEVEL_VARIABLE} limits it to {limit}"),
    );
    writeln!(
        out,
        "\n## Fully connected layers, one thread\n\n\
         Sparse kernels at the level {level} ({limit}); float32 and int8 by ONNX Runtime, which \
         uses all that the processor has.\n\n\
         | layer | density | batch | float32 us | int8 us | sparse us | float32/sparse | \
         int8/sparse | error |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    )?;
    let environment = skysail_engine::runtime::load(1)?;
    let mut ratios = BATCHES.map(|_| Vec::new());
    let mut to_int8 = BATCHES.map(|_| Vec::new());
    let mut error_max = 0.0_f64;
    for (name, inputs, outputs, density) in LAYERS {
        let layer = Layer::new(Matrix::random(outputs, inputs, density))?;
        for (place, batch) in BATCHES.into_iter().enumerate() {
            let ([float, int8, sparse], error) = layer.measure(&environment, batch, bench)?;
            let ratio = [float / sparse, int8 / sparse];
            writeln!(
                out,
                "| {name} | {:.0} % | {batch} | {float:.0} | {int8:.0} | {sparse:.0} | {:.2} | \
                 {:.2} | {error:.0e} |",
                density * 100.0,
                ratio[0],
                ratio[1]
            )?;
            ratios[place].push(ratio[0]);
            to_int8[place].push(ratio[1]);
            error_max = error_max.max(error);
        }
    }
    writeln!(out, "\n| batch | times as fast as float32 | as int8 |\n|---:|---:|---:|")?;
    let mut figures = Vec::new();
    let gains_min = if level >= Level::Avx512 { GAINS_MIN } else { GAINS_MIN_AVX2 };
    for (place, (batch, gain_min)) in BATCHES.into_iter().zip(gains_min).enumerate() {
        let (float, int8) = (mean(&ratios[place]), mean(&to_int8[place]));
        writeln!(out, "| {batch} | {float:.2} | {int8:.2} |")?;
        let what =
            format!("fully connected at {level}, batch {batch}, geometric mean against float32");
        figures.push((what, float, Target::AtLeast(gain_min)));
    }
    let worst = least(&ratios.concat());
    figures.push(("fully connected, the worst cell".into(), worst, Target::AtLeast(1.0)));
    let error = error_max / ERROR_MAX;
    figures.push((
        "fully connected, error in 1e-5 of float32's".into(),
        error,
        Target::AtMost(1.0),
    ));
    Ok(figures)
}

/// Layer in its three forms.
struct Layer {
    matrix: Matrix,
    weights: OperatorWeights,
    float: Vec<u8>,
    int8: Vec<u8>,
    sparse: Vec<u8>,
}

impl Layer {
    fn new(matrix: Matrix) -> Result<Self> {
        let mut weights = OperatorWeights::default();
        let sparse = SparseMatrix::new(&matrix.sparse()?, Formats::Both);
        weights.matrices.insert("w".into(), Arc::new(sparse));
        let (float, int8) = (matrix.float_product()?, matrix.int8_product()?);
        let sparse = matrix.sparse_product()?;
        Ok(Self { matrix, weights, float, int8, sparse })
    }

    /// Times of all forms, and the error of the sparse result.
    fn measure(
        &self,
        environment: &Environment,
        batch: usize,
        bench: &Bench,
    ) -> Result<([f64; 3], f64)> {
        let x = || Ok::<_, anyhow::Error>(vec![floats(&[batch, self.matrix.inputs])?]);
        let mut float = Timed::dense(environment, &self.float, x()?)?;
        let mut int8 = Timed::dense(environment, &self.int8, x()?)?;
        let mut sparse = Timed::sparse(environment, &self.weights, &self.sparse, x()?)?;
        let error = sparse.error(&mut float)?;
        let limits = Limits { rounds: 101, time: bench.time };
        Ok((times([&mut float, &mut int8, &mut sparse], limits)?, error))
    }
}
