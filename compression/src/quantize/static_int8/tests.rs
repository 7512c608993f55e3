//! Tests of the graphs that static int8 writes.

use super::*;
use crate::calibrate::{Batch, Run, Runner};
use crate::{Granularity, RunnerError};
use proptest::prelude::*;
use skysail_graph::{Attribute, Dim, ElementType, GraphBuilder, NewNode, Node, Tensor};

/// Returns the same few numbers for each value.
struct Fixed;

impl Runner for Fixed {
    fn load<'a>(
        &'a mut self,
        _: &Model,
        wanted: &[String],
    ) -> Result<Box<dyn Run + 'a>, RunnerError> {
        Ok(Box::new(FixedRun(wanted.len())))
    }
}

struct FixedRun(usize);

impl Run for FixedRun {
    fn run(&mut self, _: &[Tensor]) -> Result<Vec<Tensor>, RunnerError> {
        Ok(vec![Tensor::new(&[2], &[-1.0_f32, 2.0])?; self.0])
    }
}

fn quantize(model: &mut Model, settings: &StaticSettings) -> Result<QuantizeReport, CompressError> {
    let zeros = |info: skysail_graph::ValueInfo| {
        let dims = info.kind.dims().unwrap().iter();
        let shape: Vec<u64> =
            dims.map(|dim| if let Dim::Fixed(size) = dim { *size } else { 1 }).collect();
        let values = vec![0.5_f32; shape.iter().product::<u64>() as usize];
        (info.name, Tensor::new(&shape, &values).unwrap())
    };
    let batch: Batch = model.graph().inputs().into_iter().map(zeros).collect();
    let batches = [batch];
    quantize_static(model, settings, &mut Calibration { runner: &mut Fixed, batches: &batches })
}

fn tensor(shape: &[u64]) -> Tensor {
    let count = shape.iter().product::<u64>();
    let values: Vec<f32> = (0..count).map(|position| (position as f32 * 0.7).sin()).collect();
    Tensor::new(shape, &values).unwrap()
}

fn image(channels: u64) -> [Dim; 4] {
    [Dim::from("batch"), Dim::from(channels), Dim::from(8), Dim::from(8)]
}

const PADS: [(&str, Attribute); 0] = [];

/// Adds a convolution of three channels that keeps the size.
fn conv(builder: &mut GraphBuilder, from: &str, to: &str) {
    let (weight, bias) = (format!("{to}.w"), format!("{to}.b"));
    builder.initializer(&weight, tensor(&[3, 3, 1, 1])).initializer(&bias, tensor(&[3])).node(
        "Conv",
        &[from, &weight, &bias],
        &[to],
        &PADS,
    );
}

/// Builds two convolutions with a shortcut over the second, and a classifier.
fn residual() -> Model {
    let mut builder = GraphBuilder::new("residual");
    builder.input("x", ElementType::Float32, &image(3));
    conv(&mut builder, "x", "c1");
    builder.node("Relu", &["c1"], &["r1"], &PADS);
    conv(&mut builder, "r1", "c2");
    builder
        .node("Add", &["c2", "r1"], &["sum"], &PADS)
        .node("Relu", &["sum"], &["r2"], &PADS)
        .node("GlobalAveragePool", &["r2"], &["mean"], &PADS)
        .node("Flatten", &["mean"], &["flat"], &PADS)
        .initializer("fc.w", tensor(&[3, 10]))
        .node("Gemm", &["flat", "fc.w"], &["logits"], &PADS)
        .node("Softmax", &["logits"], &["y"], &PADS)
        .output("y", ElementType::Float32, &[Dim::from("batch"), Dim::from(10)]);
    builder.finish().unwrap()
}

/// Returns the operator that produces each input of `node`, or the name of an input of the graph or
/// an initializer.
fn producers(model: &Model, node: Node<'_>) -> Vec<String> {
    let links = model.graph().links();
    let producer = |value: &String| match links.producer(value) {
        Some(producer) => producer.op_type().to_owned(),
        None => value.clone(),
    };
    node.inputs().iter().map(producer).collect()
}

fn node<'m>(model: &'m Model, op_type: &str) -> Node<'m> {
    model.graph().nodes().find(|node| node.op_type() == op_type).unwrap()
}

#[test]
fn a_residual_network_is_int8_from_end_to_end() {
    let mut model = residual();
    let report = quantize(&mut model, &StaticSettings::default()).unwrap();
    let names: Vec<_> = report.tensors.iter().map(|tensor| tensor.stored.as_str()).collect();
    assert_eq!(names, ["c1.w", "c2.w", "fc.w"]);
    for conv in model.graph().nodes().filter(|node| node.op_type() == "Conv") {
        assert_eq!(producers(&model, conv), ["DequantizeLinear"; 3]);
    }
    for op_type in ["Add", "GlobalAveragePool"] {
        let producers = producers(&model, node(&model, op_type));
        assert!(
            producers.iter().all(|producer| producer == "DequantizeLinear"),
            "{op_type}: {producers:?}"
        );
    }
    // The codes of the mean are flattened, and the classifier's output is floats.
    assert_eq!(producers(&model, node(&model, "Flatten")), ["QuantizeLinear"]);
    assert_eq!(producers(&model, node(&model, "Gemm")), ["DequantizeLinear"; 2]);
    assert_eq!(producers(&model, node(&model, "Softmax")), ["Gemm"]);
    // Quantized are the input, both sums after their activations, the sum of the shortcut, and the
    // mean.
    let quantized = model.graph().nodes().filter(|node| node.op_type() == "QuantizeLinear");
    let quantized: Vec<_> =
        quantized.flat_map(|node| producers(&model, node)[..1].to_vec()).collect();
    assert_eq!(quantized, ["x", "Relu", "Conv", "Relu", "GlobalAveragePool"]);
}

#[test]
fn bias_scales_are_products_of_input_and_weight_scales() {
    let mut model = residual();
    quantize(&mut model, &StaticSettings::default()).unwrap();
    let graph = model.graph();
    let links = graph.links();
    let conv = node(&model, "Conv");
    let part = |input: usize| links.producer(&conv.inputs()[input]).unwrap();
    let floats = |node: Node<'_>, input: usize| {
        graph.initializer(&node.inputs()[input]).unwrap().as_f32().unwrap().into_owned()
    };
    let (input, weight, bias) = (floats(part(0), 1), floats(part(1), 1), floats(part(2), 1));
    assert_eq!((weight.len(), part(1).int("axis").unwrap()), (3, Some(0)));
    let product: Vec<f32> = weight.iter().map(|scale| scale * input[0]).collect();
    assert_eq!(bias, product);
    let codes =
        graph.initializer(&part(2).inputs()[0]).unwrap().values::<i32>().unwrap().into_owned();
    let original = residual();
    let original = original.graph().initializer("c1.b").unwrap().as_f32().unwrap().into_owned();
    for ((code, scale), value) in codes.iter().zip(&bias).zip(&original) {
        assert!((*code as f32 * scale - value).abs() <= scale * 0.51);
    }
    // The columns of a `Gemm` without `transB` are outputs.
    let gemm = links.producer(&node(&model, "Gemm").inputs()[1]).unwrap();
    assert_eq!((floats(gemm, 1).len(), gemm.int("axis").unwrap()), (10, Some(1)));
}

#[test]
fn a_bias_beside_weights_of_zero_keeps_its_value() {
    let mut model = residual();
    model.set_initializer("c1.w", Tensor::new(&[3, 3, 1, 1], &[0.0_f32; 9]).unwrap());
    model.set_initializer("c1.b", Tensor::new(&[3], &[1e6_f32, -5.0, 0.0]).unwrap());
    for granularity in [Granularity::Channel, Granularity::Tensor] {
        let mut model = model.clone();
        let layers = PerLayer::all(Int8Weights { granularity, bits: 8 });
        quantize(&mut model, &StaticSettings { layers, ..StaticSettings::default() }).unwrap();
        let (graph, links) = (model.graph(), model.graph().links());
        let bias = links.producer(&node(&model, "Conv").inputs()[2]).unwrap();
        let initializer = |input: usize| graph.initializer(&bias.inputs()[input]).unwrap();
        let codes = initializer(0).values::<i32>().unwrap().into_owned();
        let scales = initializer(1).as_f32().unwrap().into_owned();
        let value = |position: usize| codes[position] as f32 * scales[position % scales.len()];
        assert!((value(0) / 1e6 - 1.0).abs() < 1e-5 && (value(1) / -5.0 - 1.0).abs() < 1e-3);
    }
}

#[test]
fn moving_operators_work_on_codes() {
    let mut builder = GraphBuilder::new("moves");
    builder
        .input("x", ElementType::Float32, &image(3))
        .initializer("starts", Tensor::new(&[1], &[0_i64]).unwrap())
        .initializer("ends", Tensor::new(&[1], &[4_i64]).unwrap())
        .initializer("pads", Tensor::new(&[8], &[0_i64, 0, 1, 1, 0, 0, 1, 1]).unwrap());
    conv(&mut builder, "x", "c1");
    builder
        .node("Slice", &["c1", "starts", "ends"], &["sliced"], &PADS)
        .node("Pad", &["sliced", "pads"], &["padded"], &PADS)
        .node(
            "MaxPool",
            &["padded"],
            &["pooled"],
            &[("kernel_shape", Attribute::Ints(vec![2, 2]))],
        );
    conv(&mut builder, "pooled", "c2");
    builder.output(
        "c2",
        ElementType::Float32,
        &[Dim::Unknown, Dim::from(3), Dim::Unknown, Dim::Unknown],
    );
    let mut model = builder.finish().unwrap();
    quantize(&mut model, &StaticSettings::default()).unwrap();
    let producer_of_first = |op_type| producers(&model, node(&model, op_type))[0].clone();
    assert_eq!(producer_of_first("Slice"), "QuantizeLinear");
    assert_eq!(producer_of_first("Pad"), "Slice");
    assert_eq!(producer_of_first("MaxPool"), "Pad");
    // The filling is the code of zero: a third of 255 steps from -1 to 2.
    let pad = node(&model, "Pad");
    let filled = model.graph().initializer(&pad.inputs()[2]).unwrap().to_tensor().unwrap();
    assert_eq!((filled.element(), filled.bytes()), (ElementType::UInt8, &[85_u8][..]));
    assert_eq!(model.graph().outputs()[0].name, "c2");
}

#[test]
fn floats_stay_where_bytes_do_not_pay() {
    let mut builder = GraphBuilder::new("attention");
    let dims = [Dim::from("batch"), Dim::from(5), Dim::from(4)];
    builder.input("x", ElementType::Float32, &dims);
    for name in ["gain", "shift", "bias"] {
        builder.initializer(name, tensor(&[4]));
    }
    for name in ["q", "k"] {
        builder.initializer(name, tensor(&[4, 4]));
    }
    builder
        .node("LayerNormalization", &["x", "gain", "shift"], &["n"], &PADS)
        .node("MatMul", &["n", "q"], &["queries"], &PADS)
        .node("MatMul", &["n", "k"], &["products"], &PADS)
        .node("Add", &["products", "bias"], &["keys"], &PADS)
        .node("Add", &["keys", "n"], &["sum"], &PADS)
        .node("Mul", &["sum", "queries"], &["y"], &PADS)
        .output("y", ElementType::Float32, &dims);
    let mut model = builder.finish().unwrap();
    quantize(&mut model, &StaticSettings::default()).unwrap();
    let count = |op_type| model.graph().nodes().filter(|node| node.op_type() == op_type).count();
    // Both products share one quantized input, and the sums are in floats.
    assert_eq!((count("QuantizeLinear"), count("DequantizeLinear")), (1, 3));
    assert_eq!(producers(&model, node(&model, "Add")), ["MatMul", "bias"]);
    let add = model.graph().nodes().filter(|node| node.op_type() == "Add").nth(1).unwrap();
    assert_eq!(producers(&model, add), ["Add", "LayerNormalization"]);
}

#[test]
fn layers_can_be_left_out() {
    let mut model = residual();
    let layers = PerLayer::all(Int8Weights::default()).with("c2.w", None);
    let report =
        quantize(&mut model, &StaticSettings { layers, ..StaticSettings::default() }).unwrap();
    assert_eq!(report.tensors.len(), 2);
    let second = model.graph().nodes().filter(|node| node.op_type() == "Conv").nth(1).unwrap();
    assert_eq!(producers(&model, second), ["DequantizeLinear", "c2.w", "c2.b"]);
    assert_eq!(producers(&model, node(&model, "Add"))[0], "Conv");
}

#[test]
fn invalid_settings_are_errors_and_change_nothing() {
    let mut model = residual();
    let before = model.to_bytes().unwrap();
    let mut message =
        |settings: StaticSettings| quantize(&mut model, &settings).unwrap_err().to_string();
    let range = RangeRule::Percentile(0.0);
    let percentile = message(StaticSettings { range, ..StaticSettings::default() });
    assert_eq!(percentile, "the percentile is 0: it must be above 0, and 100 at most");
    let layers = PerLayer::all(Int8Weights::default()).with("c3.w", None);
    assert!(message(StaticSettings { layers, ..StaticSettings::default() }).contains("'c3.w'"));
    let layers = PerLayer::all(Int8Weights { bits: 9, ..Int8Weights::default() });
    assert!(message(StaticSettings { layers, ..StaticSettings::default() }).contains("is 9"));
    assert_eq!(model.to_bytes().unwrap(), before);
    let mut none = Calibration { runner: &mut Fixed, batches: &[] };
    let refused = quantize_static(&mut model, &StaticSettings::default(), &mut none);
    assert!(matches!(refused, Err(CompressError::NoBatches)));
    assert_eq!(model.to_bytes().unwrap(), before);
}

/// Adds a node after the existing values, chosen by two numbers.
fn add_random(builder: &mut GraphBuilder, values: &mut Vec<String>, (kind, position): (u8, usize)) {
    let (from, to) = (values[position % values.len()].clone(), format!("v{}", values.len()));
    let other = values[position / 7 % values.len()].clone();
    let plain = |op_type: &str, inputs: &[&str]| NewNode::new(op_type, inputs, &[&to]).name(&to);
    match kind {
        0..4 => {
            conv(builder, &from, &to);
            values.push(to);
            return;
        }
        4..6 => builder.add(plain("Relu", &[&from])),
        6 => builder.add(plain("Add", &[&from, &other])),
        7 => builder.add(plain("Mul", &[&from, &other])),
        8 => builder.add(plain("Identity", &[&from])),
        9 => builder.add(plain("Sigmoid", &[&from])),
        _ => {
            let window = Attribute::Ints(vec![1, 1]);
            builder.add(plain("MaxPool", &[&from]).attribute("kernel_shape", window))
        }
    };
    values.push(to);
}

proptest! {
    #[test]
    fn random_graphs_stay_valid(
        choices in prop::collection::vec((0_u8..11, 0_usize..1000), 1..25), outputs in 1_usize..4,
    ) {
        let mut builder = GraphBuilder::new("random");
        builder.input("x", ElementType::Float32, &image(3));
        let mut values = vec!["x".to_owned()];
        choices.into_iter().for_each(|choice| add_random(&mut builder, &mut values, choice));
        let last = values.len() - 1;
        let outputs: Vec<String> = (0..outputs.min(last)).map(|back| values[last - back].clone()).collect();
        for name in &outputs {
            builder.output(name, ElementType::Float32, &image(3));
        }
        let mut model = builder.finish().unwrap();
        let before = model.graph().shapes();
        quantize(&mut model, &StaticSettings::default()).unwrap();
        let after = model.graph().shapes();
        let names: Vec<String> = model.graph().outputs().into_iter().map(|output| output.name).collect();
        prop_assert_eq!(&names, &outputs);
        for name in &names {
            prop_assert_eq!(before.kind(name), after.kind(name));
        }
        for conv in model.graph().nodes().filter(|node| node.op_type() == "Conv") {
            prop_assert_eq!(producers(&model, conv), ["DequantizeLinear"; 3]);
            // The output, or that of the one activation after it, is used as bytes only.
            let links = model.graph().links();
            let mut made = conv.outputs()[0].clone();
            if let Some(next) = links.single_consumer(&made).filter(|next| next.op_type() == "Relu") {
                made = next.outputs()[0].clone();
            }
            let consumer = links.single_consumer(&made).map(|node| node.op_type().to_owned());
            prop_assert_eq!(consumer.as_deref(), Some("QuantizeLinear"));
        }
        let mut names: Vec<&str> = model.graph().nodes().map(|node| node.name()).collect();
        names.sort_unstable();
        prop_assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
    }
}
