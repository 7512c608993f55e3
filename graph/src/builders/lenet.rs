//! Small convolutional networks for digits of 28 × 28 pixels.

use super::layers::Layers;
use crate::{Dim, ElementType, GraphError, Model};

/// Number of digit classes.
const DIGITS: u64 = 10;

fn digits(layers: &mut Layers) -> String {
    layers.input(ElementType::Float32, &[Dim::Fixed(1), Dim::Fixed(28), Dim::Fixed(28)])
}

/// LeNet-5 in Caffe's variant, a benchmark of compression.
///
/// It has 20 and 50 kernels of 5 × 5, each with a pool of 2 × 2, then 500 and 10 neurons: 431,080
/// parameters. Its input `input` is float32 `[batch, 1, 28, 28]`, its output `output` float32
/// `[batch, 10]`. Weights are `conv1`, `conv2`, `fc1` and `fc2`, each with `.weight` and `.bias`.
///
/// # Errors
/// None in practice.
pub fn lenet_5(seed: u64) -> Result<Model, GraphError> {
    let mut layers = Layers::new("lenet-5", seed);
    let input = digits(&mut layers);
    let first = layers.conv("conv1", &input, [1, 20, 5], [0, 1], true)?;
    let first = layers.max_pool("pool1", &first);
    let second = layers.conv("conv2", &first, [20, 50, 5], [0, 1], true)?;
    let second = layers.max_pool("pool2", &second);
    let flat = layers.plain("Flatten", "flat", &[&second], &[]);
    let hidden = layers.dense("fc1", &flat, 50 * 4 * 4, 500)?;
    let hidden = layers.relu("relu1", &hidden);
    let logits = layers.dense("fc2", &hidden, 500, DIGITS)?;
    layers.finish(&logits, DIGITS)
}

/// Convolutional network of federated averaging (McMahan et al., AISTATS 2017).
///
/// It has 32 and 64 kernels of 5 × 5 over padded images, each with a pool of 2 × 2, then 512 and 10
/// neurons. These are 1,663,370 parameters. Names are those of [`lenet_5`].
///
/// # Errors
/// None in practice.
pub fn fed_avg_cnn(seed: u64) -> Result<Model, GraphError> {
    let mut layers = Layers::new("fed-avg-cnn", seed);
    let mut current = digits(&mut layers);
    for (place, [inputs, outputs]) in [[1, 32], [32, 64]].into_iter().enumerate() {
        let number = place + 1;
        let convolved =
            layers.conv(&format!("conv{number}"), &current, [inputs, outputs, 5], [2, 1], true)?;
        let convolved = layers.relu(&format!("relu{number}"), &convolved);
        current = layers.max_pool(&format!("pool{number}"), &convolved);
    }
    let flat = layers.plain("Flatten", "flat", &[&current], &[]);
    let hidden = layers.dense("fc1", &flat, 64 * 7 * 7, 512)?;
    let hidden = layers.relu("relu3", &hidden);
    let logits = layers.dense("fc2", &hidden, 512, DIGITS)?;
    layers.finish(&logits, DIGITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{lenet_300_100, two_nn};

    fn parameters(model: &Model) -> u64 {
        model.graph().initializers().map(|tensor| tensor.count().unwrap()).sum()
    }

    #[test]
    fn models_have_the_parameters_of_their_papers() {
        assert_eq!(parameters(&lenet_5(1).unwrap()), 431_080);
        assert_eq!(parameters(&fed_avg_cnn(1).unwrap()), 1_663_370);
        assert_eq!(parameters(&two_nn(1).unwrap()), 199_210);
        assert_eq!(parameters(&lenet_300_100(1).unwrap()), 266_610);
    }

    #[test]
    fn shapes_follow_from_the_input() {
        for model in [lenet_5(1).unwrap(), fed_avg_cnn(1).unwrap()] {
            let shapes = model.graph().shapes();
            let classes = shapes.dims("output").map(|dims| dims[1].clone());
            assert_eq!(classes, Some(Dim::Fixed(10)));
        }
        let bytes = |seed| lenet_5(seed).unwrap().to_bytes().unwrap();
        assert_eq!(bytes(3), bytes(3));
        assert_ne!(bytes(3), bytes(4));
    }
}
