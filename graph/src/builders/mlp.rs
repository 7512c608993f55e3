//! Multi-layer perceptrons.

use super::layers::uniform;
use crate::random::SplitMix64;
use crate::{Attribute, Dim, ElementType, GraphBuilder, GraphError, MODEL_BYTES_MAX, Model};

/// Most layers of a perceptron.
const LAYERS_MAX: usize = 1000;

/// A multi-layer perceptron; `sizes` go from the input to the output, such as `[784, 300, 100,
/// 10]`.
///
/// Its input `input` is float32 `[batch, first]`, its output `output` float32 `[batch, last]`.
/// Layer N has `fcN.weight`, `[outputs, inputs]`, and `fcN.bias`. A ReLU follows every layer but
/// the last.
///
/// The same seed gives the same weights on every machine, uniform after He et al. (ICCV 2015), so
/// that values neither fade nor explode.
///
/// # Errors
/// `BadGraph` for fewer than two sizes, more than a thousand layers, or a size of 0;
/// `TooLarge` when the model would pass [`MODEL_BYTES_MAX`].
pub fn mlp(sizes: &[u64], seed: u64) -> Result<Model, GraphError> {
    check(sizes)?;
    let layers = sizes.len() - 1;
    let float = ElementType::Float32;
    let mut random = SplitMix64::new(seed);
    let mut builder = GraphBuilder::new("mlp");
    builder.input("input", float, &[Dim::from("batch"), Dim::Fixed(sizes[0])]);
    let mut current = "input".to_owned();
    for layer in 0..layers {
        let (weight, bias) = (format!("fc{layer}.weight"), format!("fc{layer}.bias"));
        let (inputs, outputs) = (sizes[layer], sizes[layer + 1]);
        // Variances that keep those of the values: 2 / inputs, and less for the bias.
        let bound = (6.0 / inputs as f32).sqrt();
        builder.initializer(&weight, uniform(&mut random, &[outputs, inputs], bound)?);
        let bound = (1.0 / inputs as f32).sqrt();
        builder.initializer(&bias, uniform(&mut random, &[outputs], bound)?);

        let is_last = layer + 1 == layers;
        let output = if is_last { "output".to_owned() } else { format!("fc{layer}") };
        // PyTorch exports this layout. ONNX Runtime packs constant weights at load, and runs either
        // layout equally fast.
        let transposed = [("transB", Attribute::Int(1))];
        builder.node("Gemm", &[&current, &weight, &bias], &[&output], &transposed);
        if !is_last {
            current = format!("relu{layer}");
            builder.node("Relu", &[&output], &[&current], &[]);
        }
    }
    builder.output("output", float, &[Dim::from("batch"), Dim::Fixed(sizes[layers])]);
    builder.finish()
}

/// Checks the sizes before any allocation.
fn check(sizes: &[u64]) -> Result<(), GraphError> {
    if sizes.len() < 2 || sizes.len() > LAYERS_MAX + 1 || sizes.contains(&0) {
        let problem = format!("a perceptron has 2 to {} sizes, each above 0", LAYERS_MAX + 1);
        return Err(GraphError::BadGraph(problem));
    }
    let parameters = sizes.windows(2).fold(0_u64, |sum, pair| {
        sum.saturating_add(pair[0].saturating_add(1).saturating_mul(pair[1]))
    });
    let bytes = parameters.saturating_mul(size_of::<f32>() as u64);
    if bytes > MODEL_BYTES_MAX {
        let what = "the model".to_owned();
        return Err(GraphError::TooLarge { what, bytes, bytes_max: MODEL_BYTES_MAX });
    }
    Ok(())
}

/// Perceptron of LeCun et al. (1998), a benchmark of compression.
///
/// It has 784, 300, 100 and 10 neurons: 266,610 parameters. [`mlp`] describes the names.
///
/// # Errors
/// As [`mlp`]; none in practice.
pub fn lenet_300_100(seed: u64) -> Result<Model, GraphError> {
    mlp(&[784, 300, 100, 10], seed)
}

/// Perceptron of federated averaging (McMahan et al., AISTATS 2017, "MNIST 2NN").
///
/// It has 784, 200, 200 and 10 neurons: 199,210 parameters. [`mlp`] describes the names.
///
/// # Errors
/// As [`mlp`]; none in practice.
pub fn two_nn(seed: u64) -> Result<Model, GraphError> {
    mlp(&[784, 200, 200, 10], seed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Layout, Role};

    #[test]
    fn a_perceptron_is_as_described() {
        let model = mlp(&[784, 300, 100, 10], 1).unwrap();
        let graph = model.graph();
        assert_eq!(graph.inputs()[0].to_string(), "input: float32 tensor [batch, 784]");
        assert_eq!(graph.outputs()[0].to_string(), "output: float32 tensor [batch, 10]");
        let operators: Vec<&str> = graph.nodes().map(|node| node.op_type()).collect();
        assert_eq!(operators, ["Gemm", "Relu", "Gemm", "Relu", "Gemm"]);
        let weights = graph.weights().unwrap();
        assert_eq!(weights.len(), 6);
        assert_eq!(weights[0].role, Role::Weight(Layout::OutputsByInputs));
        assert_eq!(weights[0].tensor.shape().unwrap(), [300, 784]);
        assert_eq!(weights[5].role, Role::Bias);
        assert_eq!(weights[5].tensor.as_f32().unwrap().len(), 10);
    }

    #[test]
    fn weights_come_from_the_seed_alone() {
        let bytes = |seed| mlp(&[8, 4, 2], seed).unwrap().to_bytes().unwrap();
        assert_eq!(bytes(1), bytes(1));
        assert_ne!(bytes(1), bytes(2));
        let model = mlp(&[600, 50], 3).unwrap();
        let weight = model.graph().initializer("fc0.weight").unwrap();
        let weight = weight.as_f32().unwrap().into_owned();
        let variance = weight.iter().map(|value| value * value).sum::<f32>() / 30_000.0;
        assert!((variance - 2.0 / 600.0).abs() < 1e-4, "{variance}");
    }

    #[test]
    fn impossible_sizes_are_rejected() {
        for sizes in [[].as_slice(), &[3], &[3, 0], &[1; 1002]] {
            assert!(matches!(mlp(sizes, 0), Err(GraphError::BadGraph(_))));
        }
        assert!(matches!(mlp(&[1 << 40, 1 << 40], 0), Err(GraphError::TooLarge { .. })));
    }
}
