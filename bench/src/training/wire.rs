//! Bytes that a rank sends in a step: dense, and with Deep Gradient Compression.

use super::Figure;
use super::steps::{RATE, ROWS};
use crate::targets::Target;
use anyhow::Result;
use skysail_graph::lenet_5;
use skysail_trainer::{
    Collective, DeepGradient, DeepGradientSettings, Layout, Learner, Network, Precision,
    SgdSettings, Sparsity, Strategy, Synchronous, TrainError, digits, threads,
};
use std::io::Write;
use std::time::Duration;

/// Number of ranks.
const RANKS: usize = 4;
/// Time limit for the other ranks.
const DEADLINE: Duration = Duration::from_secs(120);
/// Share of the gradients that is held back.
const SPARSITY: f64 = 0.999;
/// Least ratio of the bytes without to those with compression.
const FEWER_MIN: f64 = 270.0;
/// First steps, which do not count: the residuals have to build up.
const FIRST: u64 = 5;

/// Function that makes a rank's part of a strategy.
type Make = fn(&Layout, Box<dyn Collective>) -> Result<Box<dyn Strategy>, TrainError>;

/// Prints the table.
pub(super) fn table(out: &mut impl Write, quick: bool) -> Result<Vec<Figure>> {
    let steps = if quick { 3 } else { 20 };
    writeln!(
        out,
        "\n## Bytes that a rank of {RANKS} sends in a step, LeNet-5\n\n\
         | strategy | bytes | reduction |\n|---|---:|---:|"
    )?;
    let dense = sent(synchronous, steps)?;
    writeln!(out, "| synchronous, a ring | {dense:.0} | 1 |")?;
    let mut figures = Vec::new();
    let percent = SPARSITY * 100.0;
    for (values, make) in [("16", deep_in_half as Make), ("32", deep_in_full)] {
        let bytes = sent(make, steps)?;
        let fewer = dense / bytes;
        let what = format!("deep gradient compression, {percent} %, values of {values} bits");
        writeln!(out, "| {what} | {bytes:.0} | {fewer:.0} |")?;
        figures.push((format!("{what}: reduction of bytes"), fewer, Target::AtLeast(FEWER_MIN)));
    }
    Ok(figures)
}

fn synchronous(
    layout: &Layout,
    collective: Box<dyn Collective>,
) -> Result<Box<dyn Strategy>, TrainError> {
    let sgd = SgdSettings { momentum: 0.9, ..SgdSettings::default() };
    Ok(Box::new(Synchronous::new(layout, collective, sgd, 1 << 20)?))
}

fn deep_in_half(
    layout: &Layout,
    collective: Box<dyn Collective>,
) -> Result<Box<dyn Strategy>, TrainError> {
    deep(layout, collective, Precision::Half)
}

fn deep_in_full(
    layout: &Layout,
    collective: Box<dyn Collective>,
) -> Result<Box<dyn Strategy>, TrainError> {
    deep(layout, collective, Precision::Single)
}

fn deep(
    layout: &Layout,
    collective: Box<dyn Collective>,
    precision: Precision,
) -> Result<Box<dyn Strategy>, TrainError> {
    let sparsity = Sparsity::constant(SPARSITY);
    let settings = DeepGradientSettings { sparsity, precision, ..DeepGradientSettings::default() };
    Ok(Box::new(DeepGradient::new(layout, collective, settings)?))
}

/// Mean bytes that rank 0 sends in a step, while all train on digits.
fn sent(make: Make, steps: u64) -> Result<f64> {
    let model = lenet_5(1)?;
    let data = digits(1000, 1)?.fit(&model)?;
    let all = threads(RANKS, DEADLINE, |rank, collective| {
        let mut learner = Network::new(&lenet_5(1)?)?;
        let mut parameters = learner.parameters();
        let mut strategy = make(learner.layout(), collective)?;
        let mut bytes = 0;
        for step in 0..FIRST + steps {
            let first = (step as usize * RANKS + rank) * ROWS / RANKS;
            let rows: Vec<u32> =
                (first..first + ROWS / RANKS).map(|row| (row % data.rows()) as u32).collect();
            let report = strategy.step(&mut learner, &mut parameters, &data.batch(&rows), RATE)?;
            bytes += if step < FIRST { 0 } else { report.bytes_sent };
        }
        Ok(bytes)
    })?;
    Ok(all.first().copied().unwrap_or(0) as f64 / steps as f64)
}
