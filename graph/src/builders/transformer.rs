//! Text encoders.

use super::layers::{Layers, check_sizes};
use crate::{Attribute, Dim, ElementType, GraphError, Model, Tensor};

/// Most layers of an encoder.
const LAYERS_MAX: u64 = 200;

/// Sizes of an encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransformerSettings {
    /// Size of the vocabulary, in tokens.
    pub vocabulary: u64,
    /// Tokens of a text.
    pub length: u64,
    /// Numbers that represent a token.
    pub width: u64,
    /// Heads of attention; they share the width.
    pub heads: u64,
    /// Neurons between the two products of a layer.
    pub hidden: u64,
    /// Layers.
    pub layers: u64,
    /// Number of classes.
    pub classes: u64,
}

/// A text encoder (Vaswani et al., NeurIPS 2017) that classifies the mean over the tokens.
///
/// It has learned positions, normalization before each part (Xiong et al., ICML 2020), and GELU.
/// The input `input` is int64 `[batch, length]`, the output `output` float32 `[batch, classes]`.
///
/// # Errors
/// `BadGraph` for sizes of 0, more than two hundred layers, or heads that do not divide the
/// width; `TooLarge` when the model would pass [`MODEL_BYTES_MAX`](crate::MODEL_BYTES_MAX).
pub fn transformer_encoder(settings: TransformerSettings, seed: u64) -> Result<Model, GraphError> {
    let TransformerSettings { vocabulary, length, width, heads, hidden, layers: count, classes } =
        settings;
    let sizes = [vocabulary, length, width, heads, hidden, count, classes];
    check_sizes("an encoder", &sizes)?;
    if count > LAYERS_MAX || width % heads != 0 {
        let problem =
            format!("an encoder has at most {LAYERS_MAX} layers, and heads that divide its width");
        return Err(GraphError::BadGraph(problem));
    }
    let mut layers = Layers::new("transformer-encoder", seed);
    let ids = layers.input(ElementType::Int64, &[Dim::Fixed(length)]);
    // As large as what normalization makes of them later.
    layers.weights("tokens", &[vocabulary, width], 6)?;
    layers.weights("places", &[length, width], 600)?;
    constants(&mut layers, settings)?;
    let tokens = layers.plain("Gather", "embedded", &["tokens", &ids], &[]);
    let mut current = layers.plain("Add", "placed", &[&tokens, "places"], &[]);
    for layer in 0..count {
        let name = format!("layer{layer}");
        current = attention(&mut layers, &format!("{name}.attention"), &current, width)?;
        current = feed_forward(&mut layers, &format!("{name}.feed"), &current, [width, hidden])?;
    }
    let last = norm(&mut layers, "last", &current, width)?;
    let over = [("axes", Attribute::Ints(vec![1])), ("keepdims", Attribute::Int(0))];
    let pooled = layers.plain("ReduceMean", "pooled", &[&last], &over);
    let logits = layers.dense("classifier", &pooled, width, classes)?;
    layers.finish(&logits, classes)
}

/// Adds the constants of formulas and reshapes.
fn constants(layers: &mut Layers, settings: TransformerSettings) -> Result<(), GraphError> {
    let (heads, width) = (settings.heads.cast_signed(), settings.width.cast_signed());
    let each = width / heads;
    layers.constant("heads.shape", Tensor::new(&[4], &[0, 0, heads, each])?);
    layers.constant("joined.shape", Tensor::new(&[3], &[0, 0, width])?);
    layers.constant("scale", Tensor::new(&[], &[1.0 / (each as f32).sqrt()])?);
    layers.constant("half", Tensor::new(&[], &[0.5_f32])?);
    layers.constant("one", Tensor::new(&[], &[1.0_f32])?);
    layers.constant("root", Tensor::new(&[], &[std::f32::consts::SQRT_2])?);
    Ok(())
}

fn norm(layers: &mut Layers, name: &str, input: &str, width: u64) -> Result<String, GraphError> {
    let (scale, bias) = (format!("{name}.scale"), format!("{name}.bias"));
    layers.filled(&scale, &[width], 1.0)?;
    layers.filled(&bias, &[width], 0.0)?;
    let output = format!("{name}.norm");
    Ok(layers.plain("LayerNormalization", &output, &[input, &scale, &bias], &[]))
}

/// Adds a product with weights along the last dimension, and biases.
fn projected(
    layers: &mut Layers,
    name: &str,
    input: &str,
    [inputs, outputs]: [u64; 2],
) -> Result<String, GraphError> {
    let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
    // Half the variance that a ReLU needs, as none follows.
    layers.weights(&weight, &[inputs, outputs], 2 * inputs)?;
    layers.filled(&bias, &[outputs], 0.0)?;
    let product = layers.plain("MatMul", &format!("{name}.product"), &[input, &weight], &[]);
    Ok(layers.plain("Add", name, &[&product, &bias], &[]))
}

/// Adds scaled dot-product attention of heads (section 3.2.2), beside a shortcut.
fn attention(
    layers: &mut Layers,
    name: &str,
    input: &str,
    width: u64,
) -> Result<String, GraphError> {
    let part = |part: &str| format!("{name}.{part}");
    let from = norm(layers, name, input, width)?;
    let perm = |order: [i64; 4]| [("perm", Attribute::Ints(order.to_vec()))];
    let mut heads = Vec::with_capacity(3);
    // Keys are transposed once more: their product is with columns.
    for (which, order) in [("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3])]
    {
        let output = projected(layers, &part(which), &from, [width, width])?;
        let split = part(&format!("{which}.split"));
        let split = layers.plain("Reshape", &split, &[&output, "heads.shape"], &[]);
        let transposed = part(&format!("{which}.heads"));
        heads.push(layers.plain("Transpose", &transposed, &[&split], &perm(order)));
    }
    let scores = layers.plain("MatMul", &part("scores"), &[&heads[0], &heads[1]], &[]);
    let scaled = layers.plain("Mul", &part("scaled"), &[&scores, "scale"], &[]);
    let last = [("axis", Attribute::Int(-1))];
    let shares = layers.plain("Softmax", &part("shares"), &[&scaled], &last);
    let mixed = layers.plain("MatMul", &part("mixed"), &[&shares, &heads[2]], &[]);
    let transposed = layers.plain("Transpose", &part("turned"), &[&mixed], &perm([0, 2, 1, 3]));
    let joined = layers.plain("Reshape", &part("joined"), &[&transposed, "joined.shape"], &[]);
    let output = projected(layers, &part("output"), &joined, [width, width])?;
    Ok(layers.plain("Add", &part("sum"), &[input, &output], &[]))
}

/// Adds two products with GELU between them, beside a shortcut.
fn feed_forward(
    layers: &mut Layers,
    name: &str,
    input: &str,
    [width, hidden]: [u64; 2],
) -> Result<String, GraphError> {
    let part = |part: &str| format!("{name}.{part}");
    let from = norm(layers, name, input, width)?;
    let output = projected(layers, &part("first"), &from, [width, hidden])?;
    // x/2 (1 + erf(x/√2)), in the form that exporters write.
    let inner = layers.plain("Div", &part("inner"), &[&output, "root"], &[]);
    let error = layers.plain("Erf", &part("error"), &[&inner], &[]);
    let share = layers.plain("Add", &part("share"), &[&error, "one"], &[]);
    let twice = layers.plain("Mul", &part("twice"), &[&output, &share], &[]);
    let gelu = layers.plain("Mul", &part("gelu"), &[&twice, "half"], &[]);
    let output = projected(layers, &part("second"), &gelu, [hidden, width])?;
    Ok(layers.plain("Add", &part("sum"), &[input, &output], &[]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: TransformerSettings = TransformerSettings {
        vocabulary: 20,
        length: 6,
        width: 8,
        heads: 2,
        hidden: 16,
        layers: 2,
        classes: 3,
    };

    #[test]
    fn shapes_follow_from_the_input() {
        let model = transformer_encoder(SMALL, 1).unwrap();
        assert_eq!(model.graph().inputs()[0].to_string(), "input: int64 tensor [batch, 6]");
        let shapes = model.graph().shapes_for(&[("input", &[4, 6])]);
        assert_eq!(shapes.dims("output"), Some([4, 3].map(Dim::Fixed).as_slice()));
        let scores = shapes.dims("layer1.attention.scores");
        assert_eq!(scores, Some([4, 2, 6, 6].map(Dim::Fixed).as_slice()));
    }

    #[test]
    fn impossible_sizes_are_rejected() {
        for bad in [
            TransformerSettings { heads: 3, ..SMALL },
            TransformerSettings { width: 0, ..SMALL },
            TransformerSettings { layers: 1 << 30, ..SMALL },
        ] {
            assert!(matches!(transformer_encoder(bad, 0), Err(GraphError::BadGraph(_))));
        }
        let large = TransformerSettings { vocabulary: 1 << 60, ..SMALL };
        assert!(matches!(transformer_encoder(large, 0), Err(GraphError::TooLarge { .. })));
    }
}
