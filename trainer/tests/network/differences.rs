//! Gradients compared with finite differences of losses.

use crate::forward::{floats, tokens};
use crate::numbers::Numbers;
use skysail_graph::{
    Attribute, Dim, ElementType, GraphBuilder, Model, ResNetSettings, Tensor, TransformerSettings,
    fed_avg_cnn, lenet_5, mlp, resnet, transformer_encoder,
};
use skysail_trainer::{Batch, EntryKind, Input, Learner, Network, Targets, Values};

/// Step of a parameter to each side. Losses have seven digits, so slopes have four, and the
/// curvature matters less.
const STEP: f32 = 4e-3;
/// Tolerance relative to the largest slope.
const TOLERANCE: f32 = 4e-3;

/// Rows of a batch.
const ROWS: usize = 3;

/// A graph `x + p` → nodes of `add` → `y`.
pub(crate) fn graph(row: &[u64], add: impl FnOnce(&mut GraphBuilder)) -> Model {
    let mut builder = GraphBuilder::new("test");
    let dims: Vec<Dim> =
        std::iter::once(Dim::from("batch")).chain(row.iter().map(|dim| Dim::Fixed(*dim))).collect();
    builder.input("x", ElementType::Float32, &dims);
    let mut numbers = Numbers(11);
    let count = row.iter().product::<u64>() as usize;
    builder.initializer("p", Tensor::new(row, &numbers.floats(count)).unwrap());
    builder.node("Add", &["x", "p"], &["a"], &[]);
    add(&mut builder);
    builder.output("y", ElementType::Float32, &[]);
    builder.finish().unwrap()
}

/// A graph of one operator on `a`; other inputs are initializers.
pub(crate) fn one(
    operator: &str,
    row: &[u64],
    others: &[(&str, Tensor)],
    attributes: &[(&str, Attribute)],
) -> Model {
    graph(row, |builder| {
        let mut inputs = vec!["a"];
        for (name, tensor) in others {
            builder.initializer(name, tensor.clone());
            inputs.push(name);
        }
        builder.node(operator, &inputs, &["y"], attributes);
    })
}

/// A batch for the graph, with targets for all numbers of its output.
pub(crate) fn batch(network: &mut Network, row: &[u64]) -> Batch {
    let mut shape = vec![ROWS];
    shape.extend(row.iter().map(|dim| *dim as usize));
    let input = floats(&shape);
    let parameters = network.parameters();
    let made = network.predict(&parameters, &input).unwrap().len();
    Batch { input, targets: Targets::Numbers(Numbers(13).floats(made)) }
}

/// Checks the slope of each parameter, and that one is non-zero.
pub(crate) fn check(model: &Model, row: &[u64]) {
    let mut network = Network::new(model).unwrap();
    let batch = batch(&mut network, row);
    let parameters = network.parameters();
    check_each(&mut network, &parameters, &batch);
}

fn loss(network: &mut Network, parameters: &[f32], batch: &Batch) -> f32 {
    let mut ignored = vec![0.0; parameters.len()];
    network.gradients(parameters, batch, &mut ignored).unwrap()
}

/// Marks the numbers of the slice that are statistics, which have no slope.
fn are_statistics(network: &Network) -> Vec<bool> {
    let entries = network.layout().entries().iter();
    entries.flat_map(|e| vec![e.kind == EntryKind::Statistic; e.range.len()]).collect()
}

fn check_each(network: &mut Network, parameters: &[f32], batch: &Batch) {
    let mut gradients = vec![f32::NAN; parameters.len()];
    network.gradients(parameters, batch, &mut gradients).unwrap();
    let skipped = are_statistics(network);
    let learned = || gradients.iter().zip(&skipped).filter(|(_, skipped)| !**skipped);
    let largest = learned().fold(0.0_f32, |largest, (slope, _)| largest.max(slope.abs()));
    assert!(largest > 1e-4, "all slopes are about zero");
    let mut moved = parameters.to_vec();
    for index in (0..parameters.len()).filter(|index| !skipped[*index]) {
        let mut at = |step: f32| {
            moved[index] = parameters[index] + step;
            let loss = loss(network, &moved, batch);
            moved[index] = parameters[index];
            f64::from(loss)
        };
        let slope = ((at(STEP) - at(-STEP)) / f64::from(2.0 * STEP)) as f32;
        let found = gradients[index];
        assert!(
            (slope - found).abs() <= TOLERANCE * largest.max(0.05),
            "parameter {index}: {found} is not {slope}; the largest is {largest}"
        );
    }
}

/// Checks the slope of each entry in a direction between its gradient and noise.
fn check_directions(network: &mut Network, batch: &Batch, step: f32) {
    let parameters = network.parameters();
    let mut gradients = vec![f32::NAN; parameters.len()];
    network.gradients(&parameters, batch, &mut gradients).unwrap();
    let mut numbers = Numbers(17);
    let entries = network.layout().entries().to_vec();
    for entry in entries.iter().filter(|entry| entry.kind != EntryKind::Statistic) {
        let own = &gradients[entry.range.clone()];
        let length = own.iter().map(|value| value * value).sum::<f32>().sqrt();
        assert!(length > 0.0, "{} has no gradient", entry.name);
        let noise = numbers.floats(own.len());
        let noise_length = noise.iter().map(|value| value * value).sum::<f32>().sqrt();
        let pairs = own.iter().zip(&noise);
        let direction: Vec<f32> =
            pairs.map(|(own, noise)| own / length + noise / noise_length).collect();
        let mut at = |step: f32| {
            let mut moved = parameters.clone();
            let indices = moved[entry.range.clone()].iter_mut().zip(&direction);
            indices.for_each(|(parameter, direction)| *parameter += step * direction);
            f64::from(loss(network, &moved, batch))
        };
        let slope = (at(step) - at(-step)) / f64::from(2.0 * step);
        let found: f32 = own.iter().zip(&direction).map(|(own, share)| own * share).sum();
        let off = (slope - f64::from(found)).abs();
        assert!(
            off <= 0.02 * f64::from(length) + 2e-5 / f64::from(step) * 1e-2,
            "{}: {found} is not {slope}, of a gradient of length {length}",
            entry.name
        );
    }
}

fn classes(rows: usize, count: u64) -> Targets {
    let mut numbers = Numbers(19);
    Targets::Classes((0..rows).map(|_| numbers.below(count) as u32).collect())
}

#[test]
fn gradients_of_a_perceptron_are_slopes() {
    let model = mlp(&[6, 5, 4], 1).unwrap();
    let mut network = Network::new(&model).unwrap();
    let batch = Batch { input: floats(&[ROWS, 6]), targets: classes(ROWS, 4) };
    let parameters = network.parameters();
    check_each(&mut network, &parameters, &batch);
}

#[test]
fn gradients_of_convolutional_networks_are_slopes() {
    for model in [lenet_5(2).unwrap(), fed_avg_cnn(2).unwrap()] {
        let mut network = Network::new(&model).unwrap();
        let batch = Batch { input: floats(&[ROWS, 1, 28, 28]), targets: classes(ROWS, 10) };
        check_directions(&mut network, &batch, 2e-3);
    }
}

#[test]
fn gradients_of_a_residual_network_are_slopes() {
    let settings = ResNetSettings { channels: 2, blocks: 1, width: 4, classes: 3 };
    let mut network = Network::new(&resnet(settings, 2).unwrap()).unwrap();
    let batch = Batch { input: floats(&[4, 2, 9, 8]), targets: classes(4, 3) };
    check_directions(&mut network, &batch, 1e-3);
}

#[test]
fn gradients_of_an_encoder_are_slopes() {
    let settings = TransformerSettings {
        vocabulary: 10,
        length: 5,
        width: 8,
        heads: 2,
        hidden: 12,
        layers: 1,
        classes: 3,
    };
    let mut network = Network::new(&transformer_encoder(settings, 2).unwrap()).unwrap();
    let batch = Batch { input: tokens(&[4, 5], 10), targets: classes(4, 3) };
    check_directions_but_keys(&mut network, &batch);
}

/// A key's bias shifts all scores of a query equally, which a softmax cancels. Its gradient is zero
/// up to rounding.
fn check_directions_but_keys(network: &mut Network, batch: &Batch) {
    let parameters = network.parameters();
    let mut gradients = vec![f32::NAN; parameters.len()];
    network.gradients(&parameters, batch, &mut gradients).unwrap();
    let entry = network.layout().entries().iter().find(|e| e.name.ends_with("key.bias")).unwrap();
    assert!(gradients[entry.range.clone()].iter().all(|slope| slope.abs() < 1e-6));
    check_directions(network, batch, 3e-3);
}

#[test]
fn inputs_may_have_several_consumers() {
    let model = graph(&[4], |builder| {
        let weight = Tensor::new(&[4, 4], &Numbers(23).floats(16)).unwrap();
        builder.initializer("w", weight);
        builder.node("MatMul", &["a", "w"], &["first"], &[]);
        builder.node("MatMul", &["first", "w"], &["second"], &[]);
        builder.node("Mul", &["second", "a"], &["y"], &[]);
    });
    check(&model, &[4]);
}

#[test]
fn integers_for_a_float_input_are_rejected() {
    let input = Input { shape: vec![1, 6], values: Values::Int64(vec![0; 6]) };
    let mut network = Network::new(&mlp(&[6, 2], 1).unwrap()).unwrap();
    let parameters = network.parameters();
    let message = network.predict(&parameters, &input).unwrap_err().to_string();
    assert!(message.contains("has integers as input 0"), "{message}");
}
