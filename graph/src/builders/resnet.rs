//! Residual networks for small images.

use super::layers::{Layers, check_sizes};
use crate::{Attribute, Dim, ElementType, GraphError, Model};

/// Most blocks of a stage.
const BLOCKS_MAX: u64 = 200;
/// Stages of a network; each halves the size and doubles the channels.
const STAGES: u64 = 3;

/// Sizes of a residual network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResNetSettings {
    /// Channels of an image: 3 for colours.
    pub channels: u64,
    /// Blocks of each of three stages: 3 make ResNet-20.
    pub blocks: u64,
    /// Channels of the first stage: 16 in the paper.
    pub width: u64,
    /// Number of classes.
    pub classes: u64,
}

/// A residual network with batch normalization (He et al., CVPR 2016, section 4.2).
///
/// A shortcut across a change of size is a convolution of 1 × 1. The input `input` is float32
/// `[batch, channels, height, width]`, the output `output` float32 `[batch, classes]`.
///
/// # Errors
/// `BadGraph` for sizes of 0 or more than two hundred blocks a stage; `TooLarge` when the model
/// would pass [`MODEL_BYTES_MAX`](crate::MODEL_BYTES_MAX).
pub fn resnet(settings: ResNetSettings, seed: u64) -> Result<Model, GraphError> {
    let ResNetSettings { channels, blocks, width, classes } = settings;
    check_sizes("a residual network", &[channels, blocks, width, classes])?;
    if blocks > BLOCKS_MAX || width > u64::from(u16::MAX) {
        let problem = format!("a residual network has at most {BLOCKS_MAX} blocks a stage");
        return Err(GraphError::BadGraph(problem));
    }
    let mut layers = Layers::new("resnet", seed);
    let image = [Dim::Fixed(channels), Dim::from("height"), Dim::from("width")];
    let input = layers.input(ElementType::Float32, &image);
    let mut current = normalized(&mut layers, "stem", &input, [channels, width, 3], 1)?;
    current = layers.relu("stem.relu", &current);
    let mut inputs = width;
    for stage in 0..STAGES {
        let outputs = width << stage;
        for block in 0..blocks {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let name = format!("stage{stage}.block{block}");
            current = residual(&mut layers, &name, &current, [inputs, outputs], stride)?;
            inputs = outputs;
        }
    }
    let pooled = layers.plain("GlobalAveragePool", "pool", &[&current], &[]);
    let flat = layers.plain("Flatten", "flat", &[&pooled], &[]);
    let logits = layers.dense("fc", &flat, inputs, classes)?;
    layers.finish(&logits, classes)
}

/// Adds a convolution without bias, and batch normalization.
fn normalized(
    layers: &mut Layers,
    name: &str,
    input: &str,
    sizes: [u64; 3],
    stride: i64,
) -> Result<String, GraphError> {
    let pad = (sizes[2] / 2).cast_signed();
    let output = layers.conv(&format!("{name}.conv"), input, sizes, [pad, stride], false)?;
    let [scale, bias, mean, variance] =
        ["scale", "bias", "mean", "variance"].map(|part| format!("{name}.{part}"));
    for (parameter, value) in [(&scale, 1.0), (&bias, 0.0), (&mean, 0.0), (&variance, 1.0)] {
        layers.filled(parameter, &[sizes[1]], value)?;
    }
    let inputs = [output.as_str(), &scale, &bias, &mean, &variance];
    let momentum = [("momentum", Attribute::Float(0.9))];
    Ok(layers.plain("BatchNormalization", &format!("{name}.norm"), &inputs, &momentum))
}

/// Adds two convolutions beside a shortcut.
fn residual(
    layers: &mut Layers,
    name: &str,
    input: &str,
    [inputs, outputs]: [u64; 2],
    stride: i64,
) -> Result<String, GraphError> {
    let part = |part: &str| format!("{name}.{part}");
    let first = normalized(layers, &part("first"), input, [inputs, outputs, 3], stride)?;
    let first = layers.relu(&part("first.relu"), &first);
    let second = normalized(layers, &part("second"), &first, [outputs, outputs, 3], 1)?;
    let short = if inputs == outputs && stride == 1 {
        input.to_owned()
    } else {
        normalized(layers, &part("shortcut"), input, [inputs, outputs, 1], stride)?
    };
    let sum = layers.plain("Add", &part("sum"), &[&second, &short], &[]);
    Ok(layers.relu(&part("relu"), &sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_layers_are_as_in_the_paper() {
        let settings = ResNetSettings { channels: 3, blocks: 3, width: 16, classes: 10 };
        let model = resnet(settings, 1).unwrap();
        let nodes = || model.graph().nodes();
        // 19 convolutions and two shortcuts; the fully connected layer makes 20.
        assert_eq!(nodes().filter(|node| node.op_type() == "Conv").count(), 21);
        let shapes = model.graph().shapes_for(&[("input", &[2, 3, 32, 32])]);
        assert_eq!(shapes.dims("pool"), Some([2, 64, 1, 1].map(Dim::Fixed).as_slice()));
    }

    #[test]
    fn impossible_sizes_are_rejected() {
        let settings = ResNetSettings { channels: 3, blocks: 3, width: 16, classes: 10 };
        for bad in [
            ResNetSettings { blocks: 0, ..settings },
            ResNetSettings { blocks: 1 << 40, ..settings },
            ResNetSettings { width: 1 << 40, ..settings },
        ] {
            assert!(matches!(resnet(bad, 0), Err(GraphError::BadGraph(_))));
        }
        let large = ResNetSettings { classes: 1 << 40, ..settings };
        assert!(matches!(resnet(large, 0), Err(GraphError::TooLarge { .. })));
    }
}
