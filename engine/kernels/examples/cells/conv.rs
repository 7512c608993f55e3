//! Layers of ResNet-20 (CIFAR-10) and SqueezeNet 1.0, pruned to a third.

use crate::models::{ConvShape, Random, codebook};
use crate::{dense, mean, sparse};
use anyhow::Result;
use ort::environment::Environment;
use skysail_kernels::{Convolution, Limits, OperatorWeights, SparseConv, SparseWeights, race};
use std::sync::Arc;
use std::time::Duration;

const DENSITY: f64 = 0.34;

const BATCHES: [usize; 2] = [1, 8];

const LIMITS: Limits = Limits { rounds: 201, time: Duration::from_secs(1) };

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

/// Prints the table.
pub(crate) fn print(environment: &Environment) -> Result<()> {
    println!("\n| layer at {:.0}% | batch | dense us | sparse us | ratio |", DENSITY * 100.0);
    println!("|---|---:|---:|---:|---:|");
    let mut ratios = [const { Vec::new() }; BATCHES.len()];
    for (name, [channels, outputs, side, kernel, stride, pad]) in LAYERS {
        let shape = ConvShape { channels, outputs, side, kernel, stride, pad };
        layer(environment, name, &shape, &mut ratios)?;
    }
    println!("\n| batch | geometric mean | worst |\n|---:|---:|---:|");
    for (batch, ratios) in BATCHES.iter().zip(&ratios) {
        let worst = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        println!("| {batch} | {:.2} | {worst:.2} |", mean(ratios));
    }
    Ok(())
}

fn layer(
    environment: &Environment,
    name: &str,
    shape: &ConvShape,
    ratios: &mut [Vec<f64>],
) -> Result<()> {
    let inputs = shape.channels * shape.taps();
    let entries = Random(0x1234_5678_9abc_def1).entries(shape.outputs, inputs, DENSITY);
    let weights =
        SparseWeights::coded(shape.outputs, inputs, &codebook(), entries.iter().copied())?;
    let convolution = Convolution {
        channels: shape.channels,
        groups: 1,
        kernel: [shape.kernel; 2],
        strides: [shape.stride; 2],
        dilations: [1; 2],
        pads: [shape.pad; 4],
    };
    let mut held = OperatorWeights::default();
    held.convolutions.insert("w".into(), Arc::new(SparseConv::new(&weights, convolution)?));
    let mut full = vec![0.0; shape.outputs * inputs];
    for (output, input, code) in entries {
        full[output as usize * inputs + input as usize] = codebook()[usize::from(code)];
    }
    let (full, ours) = (shape.dense(&full)?, shape.sparse()?);
    for (batch, ratios) in BATCHES.into_iter().zip(ratios) {
        let size = [batch, shape.channels, shape.side, shape.side];
        let mut float = dense(environment, &full, &size)?;
        let mut ours = sparse(environment, &held, &ours, &size)?;
        let times = race(&mut [&mut || float.run(), &mut || ours.run()], LIMITS)?;
        let [float, ours] = [0, 1].map(|i| times[i].as_secs_f64() * 1e6);
        println!("| {name} | {batch} | {float:.1} | {ours:.1} | {:.2} |", float / ours);
        ratios.push(float / ours);
    }
    Ok(())
}
