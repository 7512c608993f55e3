//! Compressed models, and packages of them.

use super::{FLOAT, batch_of};
use skysail_compression::{
    ClusterInit, ClusterSettings, Manifest, PackageWriter, PerLayer, PruneRule, PruneSettings,
    cluster, prune,
};
use skysail_graph::{Attribute, GraphBuilder, Model, Tensor};

/// The lossless package of a model.
pub(crate) fn package(model: &Model) -> Vec<u8> {
    let manifest = Manifest { name: "test".into(), ..Manifest::default() };
    PackageWriter::new(model).manifest(manifest).to_bytes().unwrap()
}

/// The model with this share of its weights, which have `2^bits` different values.
pub(crate) fn compressed(model: &Model, density: f64, bits: u8) -> Model {
    let mut model = pruned(model, density);
    let settings = ClusterSettings { bits: PerLayer::all(bits), init: ClusterInit::Linear };
    cluster(&mut model, &settings).unwrap();
    model
}

/// The model with this share of its weights.
pub(crate) fn pruned(model: &Model, density: f64) -> Model {
    let mut model = model.clone();
    let rule = PerLayer::all(PruneRule::Density(density));
    prune(&mut model, &PruneSettings::PerLayer(rule)).unwrap();
    model
}

/// Pseudo-random numbers from -1 to 1.
pub(crate) fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as f32 / (1_u32 << 31) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// Weights scaled down by the number of addends, so that values keep their size.
fn tensor(shape: &[u64], seed: u32) -> Tensor {
    let count = shape.iter().product::<u64>() as usize;
    let scale = if shape.len() > 1 { (shape[0] as f32 / count as f32).sqrt() * 3.0 } else { 1.0 };
    let values: Vec<f32> = numbers(count, seed).iter().map(|value| value * scale).collect();
    Tensor::new(shape, &values).unwrap()
}

fn text_ints(values: &[i64]) -> Attribute {
    Attribute::Ints(values.to_vec())
}

/// Products in all forms that can be sparse: float32 `x` `[batch, 48]` to `y` `[batch, 40]`.
pub(crate) fn products() -> Model {
    let gemm = [
        ("alpha", Attribute::Float(0.5)),
        ("beta", Attribute::Float(-2.0)),
        ("transB", Attribute::Int(0)),
    ];
    let mut graph = GraphBuilder::new("products");
    graph
        .input("x", FLOAT, &batch_of(&[48]))
        .initializer("by_inputs", tensor(&[48, 64], 1))
        .initializer("row", tensor(&[1, 64], 2))
        .node("Gemm", &["x", "by_inputs", "row"], &["a"], &gemm)
        .node("LeakyRelu", &["a"], &["b"], &[("alpha", Attribute::Float(0.2))])
        .initializer("plain", tensor(&[64, 56], 3))
        .initializer("bias", tensor(&[56], 4))
        .node("MatMul", &["b", "plain"], &["c"], &[])
        .node("Add", &["bias", "c"], &["d"], &[])
        .initializer("low", Tensor::new(&[], &[-1.5_f32]).unwrap())
        .node("Clip", &["d", "low"], &["e"], &[])
        .initializer("turned", tensor(&[40, 56], 5))
        .node("Transpose", &["turned"], &["turned_back"], &[])
        .node("MatMul", &["e", "turned_back"], &["f"], &[])
        // Taken twice, so nothing is done to it at once.
        .node("Relu", &["f"], &["g"], &[])
        .node("Add", &["f", "g"], &["y"], &[])
        .output("y", FLOAT, &batch_of(&[40]));
    graph.finish().unwrap()
}

/// Convolutions in all forms that can be sparse: float32 `x` `[batch, 16, 9, 9]` to `y`
/// `[batch, 32, 5, 5]`.
pub(crate) fn convolutions() -> Model {
    let same = [("pads", text_ints(&[1, 1, 1, 1]))];
    let half = [("strides", text_ints(&[2, 2])), ("pads", text_ints(&[1, 1, 1, 1]))];
    let groups = [("group", Attribute::Int(2))];
    let mut graph = GraphBuilder::new("convolutions");
    graph
        .input("x", FLOAT, &batch_of(&[16, 9, 9]))
        .initializer("first", tensor(&[32, 16, 3, 3], 1))
        .initializer("first_bias", tensor(&[32], 2))
        .node("Conv", &["x", "first", "first_bias"], &["a"], &same)
        .node("Relu", &["a"], &["b"], &[])
        .initializer("second", tensor(&[32, 32, 3, 3], 3));
    for (name, seed) in [("scale", 4), ("shift", 5), ("mean", 6)] {
        graph.initializer(name, tensor(&[32], seed));
    }
    let variance: Vec<f32> = numbers(32, 7).iter().map(|value| value.abs() + 0.1).collect();
    graph
        .initializer("variance", Tensor::new(&[32], &variance).unwrap())
        .node("Conv", &["b", "second"], &["c"], &same)
        .node("BatchNormalization", &["c", "scale", "shift", "mean", "variance"], &["d"], &[])
        .node("Add", &["b", "d"], &["e"], &[])
        .node("Relu", &["e"], &["f"], &[])
        .initializer("third", tensor(&[32, 32, 3, 3], 8))
        .initializer("columns", tensor(&[32, 1, 1], 9))
        .node("Conv", &["f", "third"], &["g"], &half)
        .node("Add", &["g", "columns"], &["h"], &[])
        .initializer("fourth", tensor(&[32, 16, 3, 3], 10))
        .node("Conv", &["h", "fourth"], &["y"], &[&groups[..], &same[..]].concat())
        .output("y", FLOAT, &batch_of(&[32, 5, 5]));
    graph.finish().unwrap()
}

/// A convolution of sequences: float32 `x` `[batch, 16, 20]` to `y` `[batch, 32, 9]`.
pub(crate) fn sequences() -> Model {
    let attributes = [
        ("strides", text_ints(&[2])),
        ("pads", text_ints(&[0, 1])),
        ("dilations", text_ints(&[2])),
    ];
    let mut graph = GraphBuilder::new("sequences");
    graph
        .input("x", FLOAT, &batch_of(&[16, 20]))
        .initializer("w", tensor(&[32, 16, 3], 1))
        .node("Conv", &["x", "w"], &["y"], &attributes)
        .output("y", FLOAT, &batch_of(&[32, 9]));
    graph.finish().unwrap()
}
