//! Predictions equal those of ONNX Runtime to five digits.

use crate::numbers::Numbers;
use crate::runtime::{real, run};
use skysail_graph::{
    Model, ResNetSettings, TransformerSettings, fed_avg_cnn, lenet_5, lenet_300_100, resnet,
    transformer_encoder, two_nn,
};
use skysail_trainer::{EntryKind, Input, Learner, Network, Values};

/// Rows of random numbers.
pub(crate) fn floats(shape: &[usize]) -> Input {
    let values = Numbers(7).floats(shape.iter().product());
    Input { shape: shape.to_vec(), values: Values::Float32(values) }
}

/// Rows of random tokens.
pub(crate) fn tokens(shape: &[usize], vocabulary: u64) -> Input {
    let mut numbers = Numbers(3);
    let count = shape.iter().product();
    let values = (0..count).map(|_| numbers.below(vocabulary) as i64).collect();
    Input { shape: shape.to_vec(), values: Values::Int64(values) }
}

/// Changes all parameters a little, writes them, and compares with ONNX Runtime.
fn compare(mut model: Model, input: &Input) {
    let mut network = Network::new(&model).unwrap();
    let mut parameters = network.parameters();
    let mut numbers = Numbers(5);
    for entry in network.layout().entries() {
        // A variance must stay positive.
        let step = if entry.kind == EntryKind::Statistic { 0.1 } else { 0.02 };
        parameters[entry.range.clone()].iter_mut().for_each(|p| *p += step * numbers.next_f32());
    }
    network.write(&mut model, &parameters).unwrap();
    let wanted = run(&model, input);
    let found = network.predict(&parameters, input).unwrap();
    close(&found, &wanted);
    let again = Network::new(&model).unwrap();
    assert_eq!(again.parameters(), parameters, "written parameters are read back");
}

/// Asserts that two outputs agree to five digits of the largest number.
fn close(found: &[f32], wanted: &[f32]) {
    assert_eq!(found.len(), wanted.len());
    let largest = wanted.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    for (found, wanted) in found.iter().zip(wanted) {
        assert!((found - wanted).abs() <= 1e-5 * largest, "{found} is not {wanted} of {largest}");
    }
}

#[test]
fn perceptrons_equal_onnx_runtime() {
    compare(lenet_300_100(1).unwrap(), &floats(&[3, 784]));
    compare(two_nn(1).unwrap(), &floats(&[3, 784]));
}

#[test]
fn lenet_5_equals_onnx_runtime() {
    compare(lenet_5(1).unwrap(), &floats(&[3, 1, 28, 28]));
}

#[test]
fn the_cnn_of_federated_averaging_equals_onnx_runtime() {
    compare(fed_avg_cnn(1).unwrap(), &floats(&[2, 1, 28, 28]));
}

#[test]
fn a_residual_network_equals_onnx_runtime() {
    let settings = ResNetSettings { channels: 3, blocks: 2, width: 8, classes: 10 };
    compare(resnet(settings, 1).unwrap(), &floats(&[2, 3, 17, 16]));
}

#[test]
fn an_encoder_equals_onnx_runtime() {
    let settings = TransformerSettings {
        vocabulary: 50,
        length: 12,
        width: 24,
        heads: 3,
        hidden: 40,
        layers: 2,
        classes: 5,
    };
    compare(transformer_encoder(settings, 1).unwrap(), &tokens(&[3, 12], 50));
}

#[test]
fn real_models_equal_onnx_runtime() {
    for (name, shape) in [
        ("mnist-cnn-batch", [2, 1, 28, 28]),
        ("mnist-cnn", [1, 1, 28, 28]),
        ("resnet20-cifar10", [2, 3, 32, 32]),
    ] {
        let Some(path) = real(name) else { continue };
        let model = Model::load(path).unwrap();
        let mut network = Network::new(&model).unwrap();
        let input = floats(&shape);
        let found = network.predict(&network.parameters(), &input).unwrap();
        close(&found, &run(&model, &input));
    }
}
