//! Tests of compressed models in ONNX Runtime, against the originals.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test panics")]

mod onnx_runtime;

use onnx_runtime::{Loaded, OnnxRuntime, data, session};
use skysail_compression::*;
use skysail_graph::{Attribute, Dim, ElementType, GraphBuilder, Model, Tensor, mlp};
use std::collections::BTreeMap;

fn run(model: &Model, inputs: &[Tensor]) -> Vec<Tensor> {
    Loaded::of(model).run(inputs).unwrap()
}

/// Returns the operators that ONNX Runtime runs, counted.
fn operators(model: &Model) -> BTreeMap<String, usize> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("optimized.onnx");
    drop(session(&model.to_bytes().unwrap(), Some(&path)).unwrap());
    let mut counts = BTreeMap::new();
    for node in Model::load(&path).unwrap().graph().nodes() {
        *counts.entry(node.op_type().to_owned()).or_default() += 1;
    }
    counts
}

/// Asserts the number of integer products, and that no operator has one scale for all rows.
fn assert_by_rows(model: &Model, products: usize) {
    let found = operators(model);
    assert_eq!(found["MatMulInteger"], products);
    for one_scale in ["DynamicQuantizeLinear", "DynamicQuantizeMatMul", "MatMulIntegerToFloat"] {
        assert!(!found.contains_key(one_scale), "{found:?}");
    }
}

fn wave(shape: &[u64]) -> Tensor {
    let count = shape.iter().product::<u64>();
    let values: Vec<f32> = (0..count).map(|position| (position as f32 * 0.37).sin()).collect();
    Tensor::new(shape, &values).unwrap()
}

#[test]
fn resnet_in_int8_chooses_the_same_classes() {
    let Some((model, batches)) = data::resnet() else { return };
    let mut int8 = model.clone();
    let mut calibration = Calibration { runner: &mut OnnxRuntime, batches: &batches };
    let report = quantize_static(&mut int8, &StaticSettings::default(), &mut calibration).unwrap();
    assert_eq!((report.tensors.len(), report.kept.len()), (20, 0));
    for batch in &batches {
        let images = [batch[0].1.clone()];
        let (floats, bytes) = (&run(&model, &images)[0], &run(&int8, &images)[0]);
        assert_eq!(top_1(floats).unwrap(), top_1(bytes).unwrap());
        assert!(difference(floats, bytes).unwrap().cosine_min > 0.995);
    }
    let operators = operators(&int8);
    assert_eq!((operators["QLinearConv"], operators["QLinearAdd"], operators["QGemm"]), (19, 9, 1));
    assert!(!operators.contains_key("Conv") && !operators.contains_key("DequantizeLinear"));
}

#[test]
fn dynamic_int8_of_a_perceptron_is_close() {
    let model = mlp(&[64, 48, 10], 5).unwrap();
    let input = [wave(&[7, 64])];
    let mut int8 = model.clone();
    quantize_dynamic(&mut int8, &DynamicSettings::default()).unwrap();
    let found = difference(&run(&model, &input)[0], &run(&int8, &input)[0]).unwrap();
    assert!(found.cosine_min > 0.999, "{found:?}");
    assert_by_rows(&int8, 2);
}

#[test]
fn static_int8_of_a_perceptron_is_close() {
    let model = mlp(&[64, 48, 10], 5).unwrap();
    let input = [wave(&[7, 64])];
    let batches = [vec![("input".to_owned(), input[0].clone())]];
    for range in [RangeRule::MinMax, RangeRule::PERCENTILE, RangeRule::Entropy] {
        let mut int8 = model.clone();
        let mut calibration = Calibration { runner: &mut OnnxRuntime, batches: &batches };
        let settings = StaticSettings { range, ..StaticSettings::default() };
        quantize_static(&mut int8, &settings, &mut calibration).unwrap();
        let found = difference(&run(&model, &input)[0], &run(&int8, &input)[0]).unwrap();
        assert!(found.cosine_min > 0.998, "{range:?}: {found:?}");
        assert_eq!(operators(&int8)["QGemm"], 2);
    }
}

/// Compares the product of the identity and a 4-bit matrix with the operator's documentation.
#[test]
fn int4_is_laid_out_as_the_operator_reads_it() {
    // With 70 inputs the last block is not full, and each output has an odd number of blocks.
    let model = mlp(&[70, 5], 5).unwrap();
    let mut unit = vec![0.0_f32; 70 * 70];
    (0..70).for_each(|position| unit[position * 71] = 1.0);
    let input = [Tensor::new(&[70, 70], &unit).unwrap()];
    for (symmetric, block) in [(true, 32), (false, 32), (true, 16), (false, 64)] {
        let mut int4 = model.clone();
        let layers = PerLayer::all(Int4Weights { block, symmetric });
        let settings = Int4Settings { layers, int8_inputs: false };
        let report = quantize_int4(&mut int4, &settings).unwrap();
        let (a, b) = (&run(&model, &input)[0], &run(&int4, &input)[0]);
        let values = |tensor: &Tensor| bytemuck::pod_collect_to_vec::<u8, f32>(tensor.bytes());
        // The rows are those of the matrix itself, so the error is the reported one.
        let squares = values(a).into_iter().zip(values(b)).map(|(a, b)| f64::from(a - b).powi(2));
        let error = squares.sum::<f64>() / 350.0;
        let reported = report.tensors[0].mean_squared_error;
        assert!((error / reported - 1.0).abs() < 0.01, "{symmetric} {block}: {error} {reported}");
    }
}

#[test]
fn halves_are_widened_when_the_model_is_loaded() {
    let model = mlp(&[64, 48, 10], 5).unwrap();
    let input = [wave(&[3, 64])];
    for (format, limit) in [(HalfFormat::Float16, 1e-3), (HalfFormat::BFloat16, 1e-2)] {
        let mut half = model.clone();
        store_half(&mut half, &HalfSettings::all(format)).unwrap();
        let found = difference(&run(&model, &input)[0], &run(&half, &input)[0]).unwrap();
        assert!(found.relative > 0.0 && found.relative < limit, "{format:?}: {found:?}");
        assert!(!operators(&half).contains_key("Cast"));
    }
}

/// Builds the core of a sentence encoder: normalized rows of a table, and two products.
fn encoder() -> Model {
    let ids = [Dim::from("batch"), Dim::from("sequence")];
    let rows = [Dim::from("batch"), Dim::from("sequence"), Dim::from(24)];
    let mut builder = GraphBuilder::new("encoder");
    let halves: Vec<half::f16> = bytemuck::pod_collect_to_vec::<u8, f32>(wave(&[1000, 32]).bytes())
        .into_iter()
        .map(half::f16::from_f32)
        .collect();
    let mut gain = vec![1.0_f32; 32];
    gain[3] = 60.0;
    builder
        .input("ids", ElementType::Int64, &ids)
        .initializer("words", Tensor::new(&[1000, 32], &halves).unwrap())
        .initializer("gain", Tensor::new(&[32], &gain).unwrap())
        .initializer("w1", wave(&[32, 48]))
        .initializer("b1", wave(&[48]))
        .initializer("w2", wave(&[48, 24]))
        .node("Cast", &["words"], &["wide"], &[("to", Attribute::Int(1))])
        .node("Gather", &["wide", "ids"], &["word"], &[])
        .node("LayerNormalization", &["word", "gain"], &["norm"], &[])
        .node("MatMul", &["norm", "w1"], &["p1"], &[])
        .node("Add", &["p1", "b1"], &["s1"], &[])
        .node("Tanh", &["s1"], &["t1"], &[])
        .node("MatMul", &["t1", "w2"], &["y"], &[])
        .output("y", ElementType::Float32, &rows);
    builder.finish().unwrap()
}

#[test]
fn an_encoder_is_smoothed_and_its_table_is_int8() {
    let model = encoder();
    let ids: Vec<i64> = (0..40).map(|position| position * 37 % 1000).collect();
    let input = [Tensor::new(&[4, 10], &ids).unwrap()];
    let batches = [vec![("ids".to_owned(), input[0].clone())]];
    let mut calibration = Calibration { runner: &mut OnnxRuntime, batches: &batches };
    let mut smoothed = model.clone();
    let report = smooth(&mut smoothed, SmoothSettings::default(), &mut calibration).unwrap();
    assert_eq!(report.values.len(), 2);
    let wanted = run(&model, &input);
    let same = difference(&wanted[0], &run(&smoothed, &input)[0]).unwrap();
    assert!(same.relative < 1e-5, "{same:?}");
    let closeness = |mut model: Model| {
        quantize_dynamic(&mut model, &DynamicSettings::default()).unwrap();
        quantize_tables(&mut model, Int8Weights::default()).unwrap();
        assert_by_rows(&model, 2);
        difference(&wanted[0], &run(&model, &input)[0]).unwrap().cosine_min
    };
    let (plain, smooth) = (closeness(model.clone()), closeness(smoothed));
    // A channel of large values coarsens the bytes of its own row alone.
    assert!(smooth > plain && smooth > 0.998 && plain > 0.99, "{smooth} after {plain}");
}

#[test]
fn a_pruned_and_clustered_model_still_runs() {
    let mut model = mlp(&[64, 48, 10], 5).unwrap();
    let input = [wave(&[3, 64])];
    let original = run(&model, &input);
    let rule = PruneRule::Density(0.9);
    prune(&mut model, &PruneSettings::PerLayer(PerLayer::all(rule))).unwrap();
    cluster(&mut model, &ClusterSettings::default()).unwrap();
    let found = difference(&original[0], &run(&model, &input)[0]).unwrap();
    assert!(found.cosine_min > 0.98 && found.absolute > 0.0, "{found:?}");
}

#[test]
#[ignore = "takes minutes without optimization"]
fn minilm_in_int8_keeps_its_embeddings() {
    let Some((model, sentences, batches)) = data::minilm() else { return };
    let mut int8 = model.clone();
    let mut calibration = Calibration { runner: &mut OnnxRuntime, batches: &batches };
    smooth(&mut int8, SmoothSettings::default(), &mut calibration).unwrap();
    quantize_dynamic(&mut int8, &DynamicSettings::default()).unwrap();
    quantize_tables(&mut int8, Int8Weights::default()).unwrap();
    let found = difference(&run(&model, &sentences)[1], &run(&int8, &sentences)[1]).unwrap();
    assert!(found.cosine_min >= 0.99, "{found:?}");
    assert_by_rows(&int8, 18);
}

/// Computes a sum as kernels do on processors without VNNI.
///
/// They add two products of an unsigned and a signed byte in 16 bits, with saturation
/// (`vpmaddubsw`).
fn saturating(bytes: &[u8], codes: &[i8]) -> i32 {
    let products = bytes.iter().zip(codes).map(|(byte, code)| i32::from(*byte) * i32::from(*code));
    let products: Vec<i32> = products.collect();
    let pair = |pair: &[i32]| pair.iter().sum::<i32>().clamp(-32_768, 32_767);
    products.chunks(2).map(pair).sum()
}

/// Asserts that no bytes let a sum of these codes saturate. The first dimension counts `outputs`,
/// or the last.
fn assert_exact(codes: &[i8], outputs: usize, by_first: bool) {
    let inputs = codes.len() / outputs;
    for output in 0..outputs {
        let at = |input: usize| {
            if by_first { output * inputs + input } else { input * outputs + output }
        };
        let mut own: Vec<i8> = (0..inputs).map(|input| codes[at(input)]).collect();
        // A kernel may use any order, so the largest codes are put side by side.
        for sorted in [false, true] {
            if sorted {
                own.sort_unstable();
            }
            for offset in 0..2.min(own.len()) {
                let own = &own[offset..];
                let worst: Vec<u8> =
                    own.iter().map(|code| if *code > 0 { 255 } else { 0 }).collect();
                let other: Vec<u8> = worst.iter().map(|byte| !byte).collect();
                for bytes in [worst, other, vec![255; own.len()]] {
                    let exact = bytes.iter().zip(own).map(|(b, c)| i32::from(*b) * i32::from(*c));
                    assert_eq!(saturating(&bytes, own), exact.sum::<i32>(), "output {output}");
                }
            }
        }
    }
}

#[test]
fn no_processor_saturates_sums_of_stored_weights() {
    // Two weights of one sign, both the largest, saturate.
    assert_ne!(saturating(&[255, 255], &[127, 127]), 2 * 255 * 127);
    let mut model = mlp(&[64, 48, 10], 5).unwrap();
    model.set_initializer("fc1.weight", Tensor::new(&[10, 48], &[1.0_f32 / 48.0; 480]).unwrap());
    let input = [Tensor::new(&[4, 64], &[1.0_f32; 256]).unwrap()];
    let batches = [vec![("input".to_owned(), input[0].clone())]];
    for granularity in [Granularity::Channel, Granularity::Tensor] {
        let weights = Int8Weights { granularity, ..Int8Weights::default() };
        let mut int8 = model.clone();
        let settings =
            StaticSettings { layers: PerLayer::all(weights), ..StaticSettings::default() };
        let mut calibration = Calibration { runner: &mut OnnxRuntime, batches: &batches };
        quantize_static(&mut int8, &settings, &mut calibration).unwrap();
        for (name, outputs) in [("fc0.weight", 48), ("fc1.weight", 10)] {
            let weight = int8.graph().initializer(name).unwrap();
            assert_exact(&weight.values::<i8>().unwrap(), outputs, true);
        }
        // Kernels for unsigned weights add in 32 bits on every processor.
        let mut int8 = model.clone();
        let layers = PerLayer::all(weights);
        quantize_dynamic(&mut int8, &DynamicSettings { layers }).unwrap();
        for name in ["fc0.weight", "fc1.weight"] {
            let weight = int8.graph().initializer(name).unwrap();
            assert_eq!(weight.element(), ElementType::UInt8);
        }
    }
}

#[test]
fn an_average_of_ones_is_one() {
    let mut builder = GraphBuilder::new("average");
    let dims = [Dim::from("batch"), Dim::from(64)];
    builder
        .input("x", ElementType::Float32, &dims)
        .initializer("w", Tensor::new(&[64, 4], &[1.0_f32 / 64.0; 256]).unwrap())
        .node("MatMul", &["x", "w"], &["y"], &[])
        .output("y", ElementType::Float32, &[Dim::from("batch"), Dim::from(4)]);
    let model = builder.finish().unwrap();
    let input = [Tensor::new(&[4, 64], &[1.0_f32; 256]).unwrap()];
    let batches = [vec![("x".to_owned(), input[0].clone())]];
    let mut dynamic = model.clone();
    quantize_dynamic(&mut dynamic, &DynamicSettings::default()).unwrap();
    let mut fixed = model.clone();
    let mut calibration = Calibration { runner: &mut OnnxRuntime, batches: &batches };
    quantize_static(&mut fixed, &StaticSettings::default(), &mut calibration).unwrap();
    for int8 in [dynamic, fixed] {
        for value in bytemuck::pod_collect_to_vec::<u8, f32>(run(&int8, &input)[0].bytes()) {
            assert!((value - 1.0).abs() < 1e-3, "{value}");
        }
    }
}

/// Builds a product and a second one with the same weight, transposed by `Gemm` or by a
/// `Transpose`.
fn tied(inner: u64, turned: bool) -> Model {
    let dims = [Dim::from("batch"), Dim::from(32)];
    let mut builder = GraphBuilder::new("tied");
    let values: Vec<f32> = (0..32 * inner).map(|at| (at as f32 * 0.77).sin() * 0.2).collect();
    builder
        .input("x", ElementType::Float32, &dims)
        .initializer("w", Tensor::new(&[32, inner], &values).unwrap())
        .node("MatMul", &["x", "w"], &["a"], &[])
        .node("Relu", &["a"], &["r"], &[]);
    if turned {
        builder.node("Gemm", &["r", "w"], &["y"], &[("transB", Attribute::Int(1))]);
    } else {
        builder.node("Transpose", &["w"], &["t"], &[("perm", Attribute::Ints(vec![1, 0]))]);
        builder.node("MatMul", &["r", "t"], &["y"], &[]);
    }
    builder.output("y", ElementType::Float32, &dims);
    builder.finish().unwrap()
}

#[test]
fn a_weight_in_two_layouts_works_in_both() {
    let input = [wave(&[6, 32])];
    let batches = [vec![("x".to_owned(), input[0].clone())]];
    for (inner, turned) in [(32, true), (24, true), (32, false), (24, false)] {
        let model = tied(inner, turned);
        let original = run(&model, &input);
        let check = |what: &str, made: &Model, limit: f64| {
            let found = difference(&original[0], &run(made, &input)[0]).unwrap();
            assert!(found.cosine_min > limit, "{what} {inner} {turned}: {found:?}");
        };
        let mut made = model.clone();
        quantize_dynamic(&mut made, &DynamicSettings::default()).unwrap();
        check("dynamic", &made, 0.999);
        let mut made = model.clone();
        let mut calibration = Calibration { runner: &mut OnnxRuntime, batches: &batches };
        quantize_static(&mut made, &StaticSettings::default(), &mut calibration).unwrap();
        check("static", &made, 0.998);
        let mut made = model.clone();
        quantize_int4(&mut made, &Int4Settings::default()).unwrap();
        check("int4", &made, 0.97);
        let mut made = model.clone();
        store_half(&mut made, &HalfSettings::all(HalfFormat::Float16)).unwrap();
        check("half", &made, 0.9999);
        let mut made = model.clone();
        prune(&mut made, &PruneSettings::PerLayer(PerLayer::all(PruneRule::Density(0.9)))).unwrap();
        cluster(&mut made, &ClusterSettings::default()).unwrap();
        check("pruned and shared", &made, 0.97);
    }
}

#[test]
fn each_row_is_quantized_by_its_own_range() {
    let model = mlp(&[64, 48, 10], 5).unwrap();
    let mut int8 = model.clone();
    quantize_dynamic(&mut int8, &DynamicSettings::default()).unwrap();
    let mut loaded = Loaded::of(&int8);
    let mut run = |values: &[f32]| {
        let rows = Tensor::new(&[values.len() as u64 / 64, 64], values).unwrap();
        bytemuck::pod_collect_to_vec::<u8, f32>(loaded.run(&[rows]).unwrap()[0].bytes())
    };
    let row: Vec<f32> = bytemuck::pod_collect_to_vec(wave(&[64]).bytes());
    let alone = run(&row);
    for stranger in [0.0, 1e6, f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for odd in 0..64 {
            // A single number of the other row is enough.
            let mut both = vec![0.5; 128];
            both[64..].copy_from_slice(&row);
            both[odd] = stranger;
            let found = run(&both);
            let apart = found[10..].iter().zip(&alone).map(|(a, b)| (a - b).abs());
            assert!(apart.fold(0.0, f32::max) < 1e-5, "{stranger}");
            assert_eq!(found[0].is_nan(), !stranger.is_finite(), "{stranger} at {odd}");
        }
    }
    assert!(run(&[0.0; 64]).iter().all(|value| value.is_finite()));
}

#[test]
fn layers_of_tiny_values_and_their_consumers_stay_in_floats() {
    let mut model = mlp(&[16, 8, 4], 5).unwrap();
    let tiny: Vec<f32> = (0..128).map(|at| (at as f32).sin() * 1e-37).collect();
    model.set_initializer("fc0.weight", Tensor::new(&[8, 16], &tiny).unwrap());
    model.set_initializer("fc0.bias", Tensor::new(&[8], &[0.0_f32; 8]).unwrap());
    let input = [wave(&[5, 16])];
    let batches = [vec![("input".to_owned(), input[0].clone())]];
    let mut calibration = Calibration { runner: &mut OnnxRuntime, batches: &batches };
    let mut int8 = model.clone();
    let report = quantize_static(&mut int8, &StaticSettings::default(), &mut calibration).unwrap();
    let kept: Vec<_> = report.kept.iter().map(|kept| kept.name.as_str()).collect();
    assert_eq!((kept, report.tensors.len()), (vec!["fc0.weight", "fc1.weight"], 0));
    assert!(report.kept.iter().all(|kept| kept.reason.contains("become zero")), "{report:?}");
    assert_eq!(run(&model, &input)[0], run(&int8, &input)[0]);
}
