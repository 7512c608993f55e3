//! Size, closeness and speed of int8 models beside their originals, on one thread of this
//! machine: `cargo run --release -p skysail-compression --example int8 [FOLDER]`. What ONNX Runtime
//! makes of them is saved in the folder.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "an experiment")]

#[path = "../tests/onnx_runtime/data.rs"]
mod data;
#[path = "../tests/onnx_runtime/mod.rs"]
mod onnx_runtime;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use onnx_runtime::{Loaded, OnnxRuntime, session};
use skysail_compression::*;
use skysail_graph::{Model, Tensor};

fn main() {
    let folder = std::env::args().nth(1).map(PathBuf::from);
    for rule in [RangeRule::MinMax, RangeRule::PERCENTILE, RangeRule::Entropy] {
        let Some((model, batches)) = data::resnet() else { return };
        let mut int8 = model.clone();
        let settings = StaticSettings { range: rule, ..StaticSettings::default() };
        let started = Instant::now();
        let mut calibration = Calibration { runner: &mut OnnxRuntime, batches: &batches };
        let report = quantize_static(&mut int8, &settings, &mut calibration).unwrap();
        println!("\nresnet20 static {rule:?} in {:.1?}", started.elapsed());
        println!("{} tensors, kept {:?}", report.tensors.len(), report.kept);
        let images: Vec<Tensor> = batches.iter().map(|batch| batch[0].1.clone()).collect();
        for images in &images {
            show_closeness(&model, &int8, std::slice::from_ref(images), 0);
        }
        for rows in [1, 16] {
            show_speed(&model, &int8, &[cut(&images[0], rows)]);
        }
        save(&int8, &folder, "resnet20");
    }
    let Some((model, sentences, batches)) = data::minilm() else { return };
    for strength in [None, Some(0.5), Some(0.65), Some(0.8)] {
        let mut int8 = model.clone();
        smooth_model(&mut int8, strength, &batches);
        quantize_dynamic(&mut int8, &DynamicSettings::default()).unwrap();
        quantize_tables(&mut int8, Int8Weights::default()).unwrap();
        println!("\nMiniLM dynamic, smoothed {strength:?}");
        show(&model, &int8, &sentences);
        save(&int8, &folder, "minilm");
    }
    let mut int8 = model.clone();
    smooth_model(&mut int8, Some(0.65), &batches);
    let mut calibration = Calibration { runner: &mut OnnxRuntime, batches: &batches };
    quantize_static(&mut int8, &StaticSettings::default(), &mut calibration).unwrap();
    println!("\nMiniLM static, smoothed 0.65");
    show(&model, &int8, &sentences);
    save(&int8, &folder, "minilm_static");
}

fn smooth_model(model: &mut Model, strength: Option<f32>, batches: &[Batch]) {
    let mut calibration = Calibration { runner: &mut OnnxRuntime, batches };
    if let Some(strength) = strength {
        smooth(model, SmoothSettings { strength }, &mut calibration).unwrap();
    }
}

fn show(original: &Model, other: &Model, sentences: &[Tensor]) {
    show_closeness(original, other, sentences, 1);
    for rows in [1, 5] {
        let inputs: Vec<Tensor> = sentences.iter().map(|input| cut(input, rows)).collect();
        show_speed(original, other, &inputs);
    }
}

fn cut(tensor: &Tensor, rows: u64) -> Tensor {
    let mut shape = tensor.shape().to_vec();
    let bytes = tensor.bytes().len() / shape[0] as usize * rows as usize;
    shape[0] = rows;
    Tensor::from_bytes(tensor.element(), &shape, tensor.bytes()[..bytes].to_vec()).unwrap()
}

fn show_closeness(original: &Model, other: &Model, inputs: &[Tensor], output: usize) {
    let a = Loaded::of(original).run(inputs).unwrap();
    let b = Loaded::of(other).run(inputs).unwrap();
    let same = agreement(&top_1(&a[output]).unwrap(), &top_1(&b[output]).unwrap()).unwrap();
    println!("  {:?}, top-1 agrees {same}", difference(&a[output], &b[output]).unwrap());
}

/// The median of rounds in which both take turns.
fn show_speed(original: &Model, other: &Model, inputs: &[Tensor]) {
    let mut models = [Loaded::of(original), Loaded::of(other)];
    let mut times: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for round in 0..60 {
        for (index, model) in models.iter_mut().enumerate() {
            let started = Instant::now();
            for _ in 0..5 {
                model.run(inputs).unwrap();
            }
            if round > 5 {
                times.entry(index).or_default().push(started.elapsed().as_secs_f64() / 5e-3);
            }
        }
    }
    let median = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let [a, b] = [0, 1].map(|index| median(times[&index].clone()));
    println!("  {:?}: {a:.3} ms, int8 {b:.3} ms, {:.2} times as fast", inputs[0].shape(), a / b);
}

/// Which operators ONNX Runtime made of the model.
fn save(model: &Model, folder: &Option<PathBuf>, name: &str) {
    let Some(folder) = folder else { return };
    model.save(folder.join(format!("{name}.onnx"))).unwrap();
    let path = folder.join(format!("{name}_optimized.onnx"));
    drop(session(&model.to_bytes().unwrap(), Some(&path)).unwrap());
    let mut operators: BTreeMap<String, usize> = BTreeMap::new();
    for node in Model::load(&path).unwrap().graph().nodes() {
        *operators.entry(node.op_type().to_owned()).or_default() += 1;
    }
    println!("  {operators:?}");
    let summary = PackageWriter::new(model).write(folder.join(format!("{name}.sky"))).unwrap();
    let sizes = (model.to_bytes().unwrap().len(), summary.bytes);
    println!(
        "  {:.3} MB as ONNX, {:.3} MB as a package",
        sizes.0 as f64 / 1e6,
        sizes.1 as f64 / 1e6
    );
}
