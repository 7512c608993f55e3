//! How small packages are, and how fast they decode on one thread, beside what is asked for:
//! `cargo run --release -p skysail-compression --example decode_speed [MODEL.onnx]`.

#![expect(clippy::print_stdout, reason = "a program that prints figures")]

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use skysail_compression::{Package, PackageWriter, TensorEntry};
use skysail_graph::{Model, Tensor, mlp};

/// What Song Han's SqueezeNet may take, in bytes.
const SQUEEZENET_BYTES_MAX: u64 = 580_000;
/// What decoding must reach on one core, in bytes of float32 a second.
const BYTES_PER_SECOND_MIN: f64 = 300e6;

fn main() -> Result<(), Box<dyn Error>> {
    let squeezenet =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/models/squeezenet1.0/model.onnx");
    if let Some(path) = std::env::args().nth(1) {
        return measure(&path, &Model::load(&path)?, None);
    }
    if Path::new(squeezenet).is_file() {
        measure("squeezenet1.0", &Model::load(squeezenet)?, Some(SQUEEZENET_BYTES_MAX))?;
    } else {
        println!("skipped: there is no {squeezenet}");
    }
    let layers = [1024, 4096, 4096, 1000];
    measure("wide MLP, 9 % kept, 5 bits", &compressed(mlp(&layers, 7)?)?, None)?;
    measure("wide MLP, dense", &mlp(&layers, 7)?, None)
}

/// The model with 9 % of its weights kept, of 32 values in the places of a bell.
fn compressed(mut model: Model) -> Result<Model, Box<dyn Error>> {
    let mut state = 1_u64;
    let mut random = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let weights: Vec<(String, Vec<u64>)> = model
        .graph()
        .initializers()
        .map(|tensor| Ok((tensor.name().to_owned(), tensor.shape()?)))
        .collect::<Result<_, skysail_graph::GraphError>>()?;
    for (name, shape) in weights.into_iter().filter(|(_, shape)| shape.len() == 2) {
        let mut value = || {
            if random() >= 0.09 {
                return 0.0;
            }
            let bell: f32 = (0..4).map(|_| random()).sum::<f32>() - 2.0;
            ((bell * 11.0).round() + 0.5) * 0.01
        };
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| value()).collect();
        model.set_initializer(&name, Tensor::new(&shape, &values)?);
    }
    Ok(model)
}

fn measure(what: &str, model: &Model, bytes_max: Option<u64>) -> Result<(), Box<dyn Error>> {
    let begin = Instant::now();
    let bytes = PackageWriter::new(model).to_bytes()?;
    let packing = begin.elapsed();
    let package = Package::from_bytes(bytes)?;
    let summary = package.summary();
    println!("{what}");
    let bar = bytes_max.map(|max| format!("   asked for: under {max}")).unwrap_or_default();
    println!("  size    {:>12} bytes, {:.2} times smaller{bar}", summary.bytes, summary.ratio());
    println!(
        "          manifest {}, graph {}, index {}, segments {}",
        summary.manifest_bytes, summary.graph_bytes, summary.index_bytes, summary.segment_bytes
    );
    println!("  pack    {:>9.1} ms, all cores", packing.as_secs_f64() * 1e3);
    let all: Vec<&TensorEntry> = package.tensors().iter().collect();
    let coded = |entry: &&TensorEntry| entry.distinct.is_some() || entry.gaps.is_some();
    let sparse: Vec<&TensorEntry> = all.iter().copied().filter(coded).collect();
    let time = fastest(|| all.iter().try_for_each(|entry| package.tensor(&entry.name).map(drop)))?;
    show("dense ", time, &all);
    let time =
        fastest(|| sparse.iter().try_for_each(|entry| package.sparse(&entry.name).map(drop)))?;
    show("sparse", time, &sparse);
    let verify = fastest(|| package.verify().map(drop))?;
    println!("  verify  {:>8.2} ms", verify.as_secs_f64() * 1e3);
    Ok(())
}

fn show(what: &str, time: Duration, tensors: &[&TensorEntry]) {
    if tensors.is_empty() {
        return;
    }
    let bytes: u64 = tensors.iter().map(|entry| entry.dense_bytes).sum();
    let rate = bytes as f64 / time.as_secs_f64() / 1e6;
    let (ms, bar) = (time.as_secs_f64() * 1e3, BYTES_PER_SECOND_MIN / 1e6);
    println!("  {what}  {ms:>8.2} ms, {rate:>6.0} MB/s of values   asked for: {bar:.0}");
}

/// The shortest of some runs.
fn fastest<E>(mut run: impl FnMut() -> Result<(), E>) -> Result<Duration, E> {
    let mut best = Duration::MAX;
    for _ in 0..9 {
        let begin = Instant::now();
        run()?;
        best = best.min(begin.elapsed());
    }
    Ok(best)
}
