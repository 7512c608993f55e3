//! Layers of ResNet-20 and SqueezeNet 1.0, pruned to a third.

use super::operators::{Matrix, Square, floats};
use super::timed::{Timed, times};
use super::{Bench, Figure, least, mean};
use crate::targets::Target;
use anyhow::Result;
use skysail_kernels::{Convolution, Limits, OperatorWeights, SparseConv};
use std::io::Write;
use std::sync::Arc;

const DENSITY: f64 = 0.34;

const BATCHES: [usize; 2] = [1, 8];

/// Greatest difference of a float kernel's result from the dense one.
const ERROR_MAX: f64 = 1e-5;

/// Channels in and out, side of the image, kernel, stride, pad.
const LAYERS: [(&str, [usize; 6]); 14] = [
    ("ResNet stage 1", [16, 16, 32, 3, 1, 1]),
    ("ResNet stage 2 first", [16, 32, 32, 3, 2, 1]),
    ("ResNet stage 2 shortcut", [16, 32, 32, 1, 2, 0]),
    ("ResNet stage 2", [32, 32, 16, 3, 1, 1]),
    ("ResNet stage 3 first", [32, 64, 16, 3, 2, 1]),
    ("ResNet stage 3", [64, 64, 8, 3, 1, 1]),
    ("fire2 squeeze", [96, 16, 54, 1, 1, 0]),
    ("fire2 expand 1x1", [16, 64, 54, 1, 1, 0]),
    ("fire2 expand 3x3", [16, 64, 54, 3, 1, 1]),
    ("fire5 squeeze", [256, 32, 27, 1, 1, 0]),
    ("fire5 expand 3x3", [32, 128, 27, 3, 1, 1]),
    ("fire9 squeeze", [512, 64, 13, 1, 1, 0]),
    ("fire9 expand 3x3", [64, 256, 13, 3, 1, 1]),
    ("conv10", [512, 1000, 13, 1, 1, 0]),
];

/// Prints the table. Single layers have no target for speed: a slower one stays dense, and the
/// whole model counts.
pub(super) fn table(out: &mut impl Write, bench: &Bench) -> Result<Vec<Figure>> {
    writeln!(
        out,
        "\n## Convolutions at {:.0} %, one thread\n\n\
         | layer | batch | float32 us | sparse us | ratio | error |\n\
         |---|---:|---:|---:|---:|---:|",
        DENSITY * 100.0
    )?;
    let environment = skysail_engine::runtime::load(1)?;
    let mut ratios = BATCHES.map(|_| Vec::new());
    let mut error_max = 0.0_f64;
    for (name, [channels, outputs, side, kernel, stride, pad]) in LAYERS {
        let square = Square { channels, outputs, side, kernel, stride, pad };
        let matrix = Matrix::random(outputs, square.inputs(), DENSITY);
        let mut weights = OperatorWeights::default();
        let sparse = SparseConv::new(&matrix.sparse()?, convolution(&square))?;
        weights.convolutions.insert("w".into(), Arc::new(sparse));
        let (dense, sparse) = (square.dense(&matrix.by_outputs())?, square.sparse()?);
        for (batch, ratios) in BATCHES.into_iter().zip(&mut ratios) {
            let x = || Ok::<_, anyhow::Error>(vec![floats(&[batch, channels, side, side])?]);
            let mut dense = Timed::dense(&environment, &dense, x()?)?;
            let mut sparse = Timed::sparse(&environment, &weights, &sparse, x()?)?;
            let error = sparse.error(&mut dense)?;
            let limits = Limits { rounds: 501, time: bench.time / 2 };
            let [dense, sparse] = times([&mut dense, &mut sparse], limits)?;
            let ratio = dense / sparse;
            writeln!(
                out,
                "| {name} | {batch} | {dense:.1} | {sparse:.1} | {ratio:.2} | {error:.0e} |"
            )?;
            ratios.push(ratio);
            error_max = error_max.max(error);
        }
    }
    writeln!(out, "\n| batch | geometric mean | worst |\n|---:|---:|---:|")?;
    for (batch, ratios) in BATCHES.iter().zip(&ratios) {
        writeln!(out, "| {batch} | {:.2} | {:.2} |", mean(ratios), least(ratios))?;
    }
    let error = error_max / ERROR_MAX;
    Ok(vec![("convolutions, error in 1e-5 of float32's".into(), error, Target::AtMost(1.0))])
}

fn convolution(square: &Square) -> Convolution {
    Convolution {
        channels: square.channels,
        groups: 1,
        kernel: [square.kernel; 2],
        strides: [square.stride; 2],
        dilations: [1; 2],
        pads: [square.pad; 4],
    }
}
