//! The fully connected layers of Deep Compression (Han et al. 2016, tables 4 and 5).

use crate::models::{Random, codebook, inputs_by_outputs, int8_matmul, matmul, sparse_matmul};
use crate::{dense, mean, sparse};
use anyhow::Result;
use ort::environment::Environment;
use skysail_kernels::{Formats, Limits, OperatorWeights, SparseMatrix, SparseWeights, race};
use std::sync::Arc;
use std::time::{Duration, Instant};

struct Shape {
    name: &'static str,
    inputs: usize,
    outputs: usize,
    density: f64,
}

const SHAPES: [Shape; 6] = [
    Shape { name: "AlexNet fc6", inputs: 9216, outputs: 4096, density: 0.09 },
    Shape { name: "AlexNet fc7", inputs: 4096, outputs: 4096, density: 0.09 },
    Shape { name: "AlexNet fc8", inputs: 4096, outputs: 1000, density: 0.25 },
    Shape { name: "VGG fc6", inputs: 25088, outputs: 4096, density: 0.04 },
    Shape { name: "VGG fc7", inputs: 4096, outputs: 4096, density: 0.04 },
    Shape { name: "VGG fc8", inputs: 4096, outputs: 1000, density: 0.23 },
];

/// Batches, and how much faster than dense they must be.
const BATCHES: [(usize, f64); 3] = [(1, 6.0), (16, 4.0), (64, 1.5)];

const LIMITS: Limits = Limits { rounds: 41, time: Duration::from_secs(4) };

/// Prints the table.
pub(crate) fn print(environment: &Environment) -> Result<()> {
    println!("| layer | density | batch | dense us | int8 us | sparse us | ratio | to int8 |");
    println!("|---|---:|---:|---:|---:|---:|---:|---:|");
    let mut ratios = [const { Vec::new() }; BATCHES.len()];
    for shape in &SHAPES {
        shape.print(environment, &mut ratios)?;
    }
    println!("\n| batch | geometric mean | bar | worst |\n|---:|---:|---:|---:|");
    for ((batch, bar), ratios) in BATCHES.iter().zip(&ratios) {
        let worst = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        println!("| {batch} | {:.2} | {bar} | {worst:.2} |", mean(ratios));
    }
    Ok(())
}

impl Shape {
    fn print(&self, environment: &Environment, ratios: &mut [Vec<f64>]) -> Result<()> {
        let Self { name, inputs, outputs, density } = *self;
        let entries = Random(0x1234_5678_9abc_def1).entries(outputs, inputs, density);
        let start = Instant::now();
        let weights = SparseWeights::coded(outputs, inputs, &codebook(), entries.iter().copied())?;
        let sorted = start.elapsed();
        let matrix = SparseMatrix::new(&weights, Formats::Both);
        eprintln!(
            "{name}: {} weights, {} kB, sorted in {sorted:?}, encoded in {:?}",
            weights.count(),
            matrix.bytes() / 1000,
            start.elapsed() - sorted
        );
        let mut held = OperatorWeights::default();
        held.matrices.insert("w".into(), Arc::new(matrix));
        let full = inputs_by_outputs(outputs, inputs, &entries);
        let models = [matmul(outputs, inputs, &full)?, int8_matmul(outputs, inputs, &full)?];
        drop(full);
        for ((batch, _), ratios) in BATCHES.iter().zip(ratios) {
            let shape = [*batch, inputs];
            let mut float = dense(environment, &models[0], &shape)?;
            let mut int8 = dense(environment, &models[1], &shape)?;
            let ours = sparse_matmul(outputs, inputs)?;
            let mut ours = sparse(environment, &held, &ours, &shape)?;
            let ways: &mut [&mut dyn FnMut() -> _] =
                &mut [&mut || float.run(), &mut || int8.run(), &mut || ours.run()];
            let times = race(ways, LIMITS)?;
            let [float, int8, ours] = [0, 1, 2].map(|i| times[i].as_secs_f64() * 1e6);
            let (ratio, to_int8) = (float / ours, int8 / ours);
            println!(
                "| {name} | {:.0}% | {batch} | {float:.0} | {int8:.0} | {ours:.0} | {ratio:.2} | \
                 {to_int8:.2} |",
                density * 100.0
            );
            ratios.push(ratio);
        }
        Ok(())
    }
}
