//! Fully connected layers of Deep Compression (Han et al. 2016, tables 4 and 5) at its densities.

use super::operators::{Matrix, floats};
use super::timed::{Timed, times};
use super::{Bench, Figure, least, mean};
use crate::targets::Target;
use anyhow::Result;
use ort::environment::Environment;
use skysail_kernels::{Formats, Limits, OperatorWeights, SparseMatrix};
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

/// Batch sizes, and the least geometric mean of their speed-ups.
const BATCHES: [(usize, f64); 3] = [(1, 6.0), (16, 4.0), (64, 1.5)];

/// Greatest difference of a float kernel's result from the dense one.
const ERROR_MAX: f64 = 1e-5;

/// Prints the table.
pub(super) fn table(out: &mut impl Write, bench: &Bench) -> Result<Vec<Figure>> {
    writeln!(
        out,
        "\n## Fully connected layers, one thread\n\n\
         | layer | density | batch | float32 us | int8 us | sparse us | float32/sparse | \
         int8/sparse | error |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    )?;
    let environment = skysail_engine::runtime::load(1)?;
    let mut ratios = BATCHES.map(|_| Vec::new());
    let mut to_int8 = BATCHES.map(|_| Vec::new());
    let mut error_max = 0.0_f64;
    for (name, inputs, outputs, density) in LAYERS {
        let layer = Layer::new(Matrix::random(outputs, inputs, density))?;
        for (place, (batch, _)) in BATCHES.into_iter().enumerate() {
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
    for (place, (batch, bar)) in BATCHES.into_iter().enumerate() {
        let (float, int8) = (mean(&ratios[place]), mean(&to_int8[place]));
        writeln!(out, "| {batch} | {float:.2} | {int8:.2} |")?;
        let what = format!("fully connected, batch {batch}, geometric mean against float32");
        figures.push((what, float, Target::AtLeast(bar)));
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
