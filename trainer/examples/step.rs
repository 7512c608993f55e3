//! How long a step of learning takes, beside the same step written by hand with `burn`:
//! `cargo run --release -p skysail-trainer --example step [STEPS]`.

use std::hint::black_box;
use std::time::Instant;

use burn::tensor::module::{conv2d, max_pool2d};
use burn::tensor::ops::{ConvOptions, MaxPoolOptions};
use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use skysail_graph::{Model, lenet_5, lenet_300_100};
use skysail_trainer::{Batch, Input, Learner, Network, Targets, TrainError, Values};

/// Examples of a batch.
const ROWS: usize = 64;
/// The rate that parameters are moved by.
const RATE: f32 = 0.01;
/// Steps of each side before the other has its turn.
const TURN: usize = 10;

#[expect(clippy::print_stdout, reason = "prints figures")]
fn main() -> Result<(), TrainError> {
    let steps = std::env::args().nth(1).and_then(|steps| steps.parse().ok()).unwrap_or(200);
    for (name, model, shape, forward) in [
        ("lenet-300-100", lenet_300_100(1)?, vec![ROWS, 784], perceptron as Forward),
        ("lenet-5", lenet_5(1)?, vec![ROWS, 1, 28, 28], lenet as Forward),
    ] {
        let [ours, by_hand] = times(&model, &shape, forward, steps)?;
        println!("{name:14} ours {ours:7.3} ms, by hand {by_hand:7.3} ms a step");
    }
    Ok(())
}

/// The logits that a model written by hand makes of rows.
type Forward = fn(&[Parameter], Tensor<2>) -> Tensor<2>;

/// The medians of the milliseconds of a step, ours and by hand, taken in turns.
fn times(
    model: &Model,
    shape: &[usize],
    forward: Forward,
    steps: usize,
) -> Result<[f64; 2], TrainError> {
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
            _ => by_hand.step(&values, &classes),
        };
        black_box(loss);
        times[side].push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    }))
}

struct Ours {
    network: Network,
    parameters: Vec<f32>,
    gradients: Vec<f32>,
}

impl Ours {
    fn new(model: &Model) -> Result<Self, TrainError> {
        let network = Network::new(model)?;
        let parameters = network.parameters();
        Ok(Self { gradients: vec![0.0; parameters.len()], network, parameters })
    }

    fn step(&mut self, batch: &Batch) -> Result<f32, TrainError> {
        let loss = self.network.gradients(&self.parameters, batch, &mut self.gradients)?;
        let pairs = self.parameters.iter_mut().zip(&self.gradients);
        pairs.for_each(|(parameter, gradient)| *parameter -= RATE * gradient);
        Ok(loss)
    }
}

/// A parameter of one of the shapes there are.
#[derive(Clone)]
enum Parameter {
    Bias(Tensor<1>),
    Matrix(Tensor<2>),
    Kernels(Tensor<4>),
}

struct ByHand {
    device: Device,
    parameters: Vec<Parameter>,
    forward: Forward,
}

impl ByHand {
    fn new(layout: &skysail_trainer::Layout, values: &[f32], forward: Forward) -> Self {
        let device = Device::flex().autodiff();
        let parameters = layout.entries().iter().map(|entry| {
            let data = TensorData::new(values[entry.range.clone()].to_vec(), entry.shape.clone());
            match entry.shape.len() {
                1 => Parameter::Bias(Tensor::from_data(data, &device).require_grad()),
                2 => Parameter::Matrix(Tensor::from_data(data, &device).require_grad()),
                _ => Parameter::Kernels(Tensor::from_data(data, &device).require_grad()),
            }
        });
        Self { parameters: parameters.collect(), device, forward }
    }

    fn step(&mut self, values: &[f32], classes: &[u32]) -> f32 {
        let data = TensorData::new(values.to_vec(), [ROWS, values.len() / ROWS]);
        let rows = Tensor::<2>::from_data(data, &self.device);
        let classes: Vec<i64> = classes.iter().map(|class| i64::from(*class)).collect();
        let classes =
            Tensor::<2, Int>::from_data(TensorData::new(classes, [ROWS, 1]), &self.device);
        let logits = (self.forward)(&self.parameters, rows);
        let loss = activation::log_softmax(logits, 1).gather(1, classes).mean().neg();
        let mut gradients = loss.backward();
        for parameter in &mut self.parameters {
            macro_rules! moved {
                ($tensor:expr) => {
                    if let Some(gradient) = $tensor.grad_remove(&mut gradients) {
                        let moved = $tensor.clone().inner() - gradient.inner() * RATE;
                        *$tensor = Tensor::from_inner(moved).require_grad();
                    }
                };
            }
            match parameter {
                Parameter::Bias(tensor) => moved!(tensor),
                Parameter::Matrix(tensor) => moved!(tensor),
                Parameter::Kernels(tensor) => moved!(tensor),
            }
        }
        loss.into_scalar::<f32>()
    }
}

fn dense(x: Tensor<2>, parameters: &[Parameter]) -> Tensor<2> {
    match parameters {
        [Parameter::Matrix(weight), Parameter::Bias(bias), ..] => {
            x.matmul(weight.clone().transpose()) + bias.clone().unsqueeze()
        }
        _ => x,
    }
}

fn conv(x: Tensor<4>, parameters: &[Parameter]) -> Tensor<4> {
    match parameters {
        [Parameter::Kernels(weight), Parameter::Bias(bias), ..] => {
            let options = ConvOptions::new([1, 1], [0, 0], [1, 1], 1);
            conv2d(x, weight.clone(), Some(bias.clone()), options)
        }
        _ => x,
    }
}

fn perceptron(parameters: &[Parameter], rows: Tensor<2>) -> Tensor<2> {
    let first = activation::relu(dense(rows, parameters));
    let second = activation::relu(dense(first, &parameters[2..]));
    dense(second, &parameters[4..])
}

fn lenet(parameters: &[Parameter], rows: Tensor<2>) -> Tensor<2> {
    let halves = MaxPoolOptions {
        kernel_size: [2, 2],
        stride: [2, 2],
        padding: [(0, 0); 2],
        dilation: [1, 1],
        ceil_mode: false,
    };
    let pool = |x: Tensor<4>| max_pool2d(x, halves.clone());
    let first = pool(conv(rows.reshape([ROWS, 1, 28, 28]), parameters));
    let second = pool(conv(first, &parameters[2..]));
    let hidden = activation::relu(dense(second.reshape([ROWS, 800]), &parameters[4..]));
    dense(hidden, &parameters[6..])
}
