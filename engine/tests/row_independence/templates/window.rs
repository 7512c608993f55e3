//! Convolutions and pooling of images.

use super::{Added, Template};
use crate::generator::{Generator, Value};
use crate::proto::{float, int, ints, text};
use skysail_graph::ElementType::Float32;

pub(crate) const ALL: &[Template] = &[
    conv,
    conv,
    conv_transpose,
    pool,
    pool,
    global,
    blocks,
    normalised,
    normalised,
    grid,
    loss,
    patches,
    affine,
    frames,
];

/// An image: batch, channels, and one or two spatial dimensions.
pub(super) fn picture(m: &mut Generator) -> Option<Value> {
    m.value(|value| {
        value.element == Float32
            && (3..5).contains(&value.dims.len())
            && value.dims[2..].iter().all(|side| *side >= 2)
    })
}

fn conv(m: &mut Generator) -> Added {
    let x = picture(m)?;
    let sides = x.dims.len() - 2;
    let group = if x.dims[1].is_multiple_of(2) && m.chance(30) { 2 } else { 1 };
    let filters = 2;
    let dims = [vec![filters, x.dims[1] / group], vec![2; sides]].concat();
    let weights = m.weights(&dims);
    let mut names = vec![x.name.as_str(), &weights];
    let bias = m.weights(&[filters]);
    if m.chance(50) {
        names.push(&bias);
    }
    let mut attributes = vec![int("group", group as i64)];
    if m.chance(50) {
        attributes.push(ints("pads", &vec![1; 2 * sides]));
    }
    if m.chance(30) {
        attributes.push(ints("strides", &vec![2; sides]));
    }
    m.one("Conv", &names, attributes);
    Some(())
}

fn conv_transpose(m: &mut Generator) -> Added {
    let x = picture(m)?;
    let dims = [vec![x.dims[1], 2], vec![2; x.dims.len() - 2]].concat();
    let weights = m.weights(&dims);
    m.one("ConvTranspose", &[&x.name, &weights], vec![]);
    Some(())
}

fn pool(m: &mut Generator) -> Added {
    let x = picture(m)?;
    let sides = x.dims.len() - 2;
    let operator = m.pick(&["MaxPool", "AveragePool", "LpPool", "MaxPool"]);
    let mut attributes = vec![ints("kernel_shape", &vec![2; sides])];
    if m.chance(30) {
        attributes.push(text("auto_pad", "SAME_UPPER"));
    }
    let outputs = if operator == "MaxPool" && m.chance(40) { 2 } else { 1 };
    m.many("", operator, &[&x.name], outputs, attributes);
    Some(())
}

fn global(m: &mut Generator) -> Added {
    let x = picture(m)?;
    let operator = m.pick(&["GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"]);
    m.one(operator, &[&x.name], vec![]);
    Some(())
}

fn blocks(m: &mut Generator) -> Added {
    let x = m.floats_of(4)?;
    if m.chance(50) {
        x.dims[1].is_multiple_of(4).then_some(())?;
        m.one("DepthToSpace", &[&x.name], vec![int("blocksize", 2)]);
    } else {
        (x.dims[2].is_multiple_of(2) && x.dims[3].is_multiple_of(2)).then_some(())?;
        m.one("SpaceToDepth", &[&x.name], vec![int("blocksize", 2)]);
    }
    Some(())
}

fn normalised(m: &mut Generator) -> Added {
    let x = m.floats(2)?;
    let channels = x.dims[1];
    let (scale, bias) = (m.weights(&[channels]), m.weights(&[channels]));
    match m.below(3) {
        0 => {
            let (mean, variance) = (m.weights(&[channels]), m.few(Float32, &[channels], 4));
            let outputs = if m.chance(20) { 3 } else { 1 };
            let training = outputs > 1 && m.opset >= 14;
            let attributes = if m.opset >= 14 {
                vec![int("training_mode", i64::from(training))]
            } else {
                vec![]
            };
            let outputs = if training { 3 } else { 1 };
            m.many(
                "",
                "BatchNormalization",
                &[&x.name, &scale, &bias, &mean, &variance],
                outputs,
                attributes,
            );
        }
        1 => {
            (x.dims.len() >= 3).then_some(())?;
            m.one("InstanceNormalization", &[&x.name, &scale, &bias], vec![float("epsilon", 0.1)]);
        }
        _ => {
            (x.dims.len() >= 3 && m.opset >= 21).then_some(())?;
            m.one("GroupNormalization", &[&x.name, &scale, &bias], vec![int("num_groups", 1)]);
        }
    }
    Some(())
}

fn grid(m: &mut Generator) -> Added {
    (m.opset >= 16).then_some(())?;
    let x = m.floats_of(4)?;
    let grid = m.value(|value| {
        value.element == Float32
            && value.dims.len() == 4
            && value.dims[0] == x.dims[0]
            && value.dims[3] == 2
    })?;
    m.one("GridSample", &[&x.name, &grid.name], vec![]);
    Some(())
}

fn loss(m: &mut Generator) -> Added {
    (m.opset >= 12).then_some(())?;
    let x = m.value(|value| value.element == Float32 && value.dims.len() == 2)?;
    let labels =
        m.places(|value| value.dims.len() == 1 && value.dims[0] == x.dims[0], x.dims[1])?;
    let reduction = m.pick(&["none", "none", "mean", "sum"]);
    let operator = m.pick(&["SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss"]);
    m.one(operator, &[&x.name, &labels.name], vec![text("reduction", reduction)]);
    Some(())
}

fn patches(m: &mut Generator) -> Added {
    (m.opset >= 18).then_some(())?;
    let x = m.value(|value| {
        value.element == Float32
            && value.dims.len() == 3
            && value.dims[1].is_multiple_of(4)
            && value.dims[2] == 1
    })?;
    let (image, block) = (m.list(&[2, 2]), m.list(&[2, 2]));
    m.one("Col2Im", &[&x.name, &image, &block], vec![]);
    Some(())
}

fn affine(m: &mut Generator) -> Added {
    (m.opset >= 20).then_some(())?;
    let x = m.value(|value| value.element == Float32 && value.dims[..].ends_with(&[2, 3]))?;
    (x.dims.len() == 3).then_some(())?;
    let size = if m.chance(80) {
        let shape = m.one("Shape", &[&x.name], vec![]);
        let (zero, one) = (m.list(&[0]), m.list(&[1]));
        let rows = m.one("Slice", &[&shape, &zero, &one], vec![]);
        let rest = m.list(&[1, 2, 2]);
        m.one("Concat", &[&rows, &rest], vec![int("axis", 0)])
    } else {
        m.list(&[x.dims[0] as i64, 1, 2, 2])
    };
    m.one("AffineGrid", &[&x.name, &size], vec![]);
    Some(())
}

fn frames(m: &mut Generator) -> Added {
    (m.opset >= 17).then_some(())?;
    let x =
        m.value(|value| value.element == Float32 && value.dims.len() == 2 && value.dims[1] >= 2)?;
    let (step, length) = (m.integers(&[], &[1]), m.integers(&[], &[2]));
    m.one("STFT", &[&x.name, &step, "", &length], vec![]);
    Some(())
}
