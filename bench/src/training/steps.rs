//! Time of a training step, beside the same step written by hand with `burn`.

use super::Figure;
use super::by_hand::{ByHand, Forward, lenet, perceptron};
use crate::targets::Target;
use anyhow::Result;
use skysail_graph::{Model, lenet_5, lenet_300_100};
use skysail_loadtest::quantiles::median;
use skysail_trainer::{Batch, Input, Learner, Network, Targets, Values};
use std::hint::black_box;
use std::io::Write;
use std::time::Instant;

/// Examples of a batch.
pub(super) const ROWS: usize = 64;
/// Learning rate.
pub(super) const RATE: f32 = 0.01;
/// Steps of each side in a turn, so that both see the same machine.
const TURN: usize = 10;

/// Greatest time of a step of LeNet-5, and the time of PyTorch 2.15 on such a machine.
const LENET_5_MS_MAX: f64 = 20.0;
const LENET_5_MS_AIM: f64 = 8.6;
/// Time of a step of LeNet-300-100 in PyTorch 2.15.
const LENET_300_100_MS_MAX: f64 = 0.63;
/// Greatest ratio to the step by hand.
const OVERHEAD_MAX: f64 = 1.05;

/// Prints the table.
pub(super) fn table(out: &mut impl Write, quick: bool) -> Result<Vec<Figure>> {
    let cores = std::thread::available_parallelism()?.get();
    writeln!(
        out,
        "\n## A training step, batch {ROWS}, {cores} cores\n\n\
         | model | ms | by hand with burn ms | ratio |\n|---|---:|---:|---:|"
    )?;
    let steps = if quick { 20 } else { 300 };
    let mut figures = Vec::new();
    let mut measure = |name: &str, model: Model, shape: &[usize], forward: Forward| {
        let [ours, by_hand] = times(&model, shape, forward, steps)?;
        let over = ours / by_hand;
        writeln!(out, "| {name} | {ours:.3} | {by_hand:.3} | {over:.2} |")?;
        figures.push((
            format!("{name}: time relative to by hand"),
            over,
            Target::AtMost(OVERHEAD_MAX),
        ));
        anyhow::Ok(ours)
    };
    let small = measure("LeNet-300-100", lenet_300_100(1)?, &[ROWS, 784], perceptron)?;
    let large = measure("LeNet-5", lenet_5(1)?, &[ROWS, 1, 28, 28], lenet)?;
    figures.extend([
        ("LeNet-300-100: ms a step".into(), small, Target::AtMost(LENET_300_100_MS_MAX)),
        ("LeNet-5: ms a step".into(), large, Target::AtMost(LENET_5_MS_MAX)),
        ("LeNet-5: ms a step, the aim".into(), large, Target::AtMost(LENET_5_MS_AIM)),
    ]);
    Ok(figures)
}

/// Median milliseconds of a step, ours and by hand, in turn.
fn times(model: &Model, shape: &[usize], forward: Forward, steps: usize) -> Result<[f64; 2]> {
    let values: Vec<f32> =
        (0..shape.iter().product()).map(|place: usize| (place * 37 % 256) as f32 / 255.0).collect();
    let classes: Vec<u32> = (0..ROWS as u32).map(|row| row % 10).collect();
    let mut ours = Ours::new(model)?;
    let mut by_hand = ByHand::new(ours.network.layout(), &ours.parameters, forward);
    let input = Input { shape: shape.to_vec(), values: Values::Float32(values.clone()) };
    let batch = Batch { input, targets: Targets::Classes(classes.clone()) };
    let mut times = [Vec::new(), Vec::new()];
    for step in 0..steps * 2 {
        let side = step / TURN % 2;
        let start = Instant::now();
        let loss = match side {
            0 => ours.step(&batch)?,
            _ => by_hand.step(&values, &classes)?,
        };
        black_box(loss);
        times[side].push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times.each_ref().map(|times| median(times)))
}

struct Ours {
    network: Network,
    parameters: Vec<f32>,
    gradients: Vec<f32>,
}

impl Ours {
    fn new(model: &Model) -> Result<Self> {
        let network = Network::new(model)?;
        let parameters = network.parameters();
        Ok(Self { gradients: vec![0.0; parameters.len()], network, parameters })
    }

    fn step(&mut self, batch: &Batch) -> Result<f32> {
        let loss = self.network.gradients(&self.parameters, batch, &mut self.gradients)?;
        let pairs = self.parameters.iter_mut().zip(&self.gradients);
        pairs.for_each(|(parameter, gradient)| *parameter -= RATE * gradient);
        Ok(loss)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both sides do the same work, so their losses agree.
    #[test]
    fn the_step_by_hand_agrees_with_ours() {
        let values: Vec<f32> = (0..ROWS * 784).map(|at| (at * 37 % 256) as f32 / 255.0).collect();
        let classes: Vec<u32> = (0..ROWS as u32).map(|row| row % 10).collect();
        let models: [(Model, &[usize], Forward); 2] = [
            (lenet_300_100(1).unwrap(), &[ROWS, 784], perceptron),
            (lenet_5(1).unwrap(), &[ROWS, 1, 28, 28], lenet),
        ];
        for (model, shape, forward) in models {
            let mut ours = Ours::new(&model).unwrap();
            let mut by_hand = ByHand::new(ours.network.layout(), &ours.parameters, forward);
            let input = Input { shape: shape.to_vec(), values: Values::Float32(values.clone()) };
            let batch = Batch { input, targets: Targets::Classes(classes.clone()) };
            for _ in 0..3 {
                let losses = [ours.step(&batch).unwrap(), by_hand.step(&values, &classes).unwrap()];
                assert!((losses[0] - losses[1]).abs() < 1e-4, "{losses:?}");
            }
        }
    }
}
