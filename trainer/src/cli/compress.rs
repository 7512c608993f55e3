//! `skysail-train compress`: a trained model, compressed as its recipe says.

use super::BadUsage;
use super::engine::Engine;
use super::evaluate::load;
use super::output::{Output, print};
use super::run::MODEL;
use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;
use skysail_compression::PackageWriter;
use skysail_trainer::{
    Compressed, CompressionReport, Known, NetworkTrainee, Prepared, Recipe, Trainee as _, describe,
};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// The package, in the folder of results.
const PACKAGE: &str = "model.sky";
/// Rows that tell what inputs and outputs look like.
const SAMPLE: usize = 1_000;

/// Compress a trained model into a package, as the recipe's part `compress` says.
///
/// It is pruned in rounds and trained after each, its weights then share a few values, and these
/// are fine-tuned. Nothing is written if more accuracy of the test is lost than the recipe allows.
#[derive(Debug, Args)]
pub(super) struct Flags {
    /// The recipe that the model was trained by, a file of TOML.
    recipe: PathBuf,
    /// The trained model, an ONNX file [default: model.onnx in the folder of results].
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Workers, each a thread.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    ranks: Option<u16>,
    /// What all that is random comes from.
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Sets a key of the recipe, such as compress.rounds=4. May be given often.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The folder of results, which gets model.sky.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How the result is printed.
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct CompressionResult {
    recipe: String,
    package: PathBuf,
    bytes: u64,
    /// Of all parameters as float32.
    dense_bytes: u64,
    times_smaller: f64,
    density: f64,
    accuracy_before: f32,
    accuracy: f32,
    seconds: f64,
}

/// Compresses.
pub(super) fn execute(flags: &Flags, stop: &AtomicBool) -> Result<()> {
    Engine::only_threads("compress")?;
    let mut recipe = Recipe::load(&flags.recipe, &flags.set)?;
    recipe.seed = flags.seed.unwrap_or(recipe.seed);
    let out = flags.out.clone().unwrap_or_else(|| recipe.output());
    let ranks = flags.ranks.map_or(recipe.ranks, usize::from);
    let path = flags.model.clone().unwrap_or_else(|| out.join(MODEL));
    if !path.exists() {
        let text = format!(
            "there is no {}: train it with `skysail-train run {}`, or say where it is with --model",
            path.display(),
            flags.recipe.display()
        );
        return Err(BadUsage(text).into());
    }
    let started = Instant::now();
    let model = load(&path).with_context(|| format!("cannot use {}", path.display()))?;
    let prepared = recipe.prepare(ranks)?;
    let compressed = prepared.compress(&model, ranks, stop, &CompressionReport::default())?;
    let manifest = describe(&compressed, known(&prepared), &sample(&prepared))?;
    let package = out.join(PACKAGE);
    std::fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    let written = PackageWriter::new(&compressed.model).manifest(manifest).write(&package)?;
    let dense_bytes = 4 * NetworkTrainee::new(model)?.layout().len() as u64;
    let result = CompressionResult {
        recipe: recipe.name.clone(),
        package,
        bytes: written.bytes,
        dense_bytes,
        times_smaller: dense_bytes as f64 / written.bytes as f64,
        density: compressed.steps.last().map_or(1.0, |done| done.density),
        accuracy_before: compressed.accuracy[0],
        accuracy: compressed.accuracy[1],
        seconds: started.elapsed().as_secs_f64(),
    };
    print(flags.output, &result, &result.text(&compressed))
}

fn known(prepared: &Prepared) -> Known {
    let data = [&prepared.train, &prepared.test];
    let data: BTreeMap<_, _> =
        data.into_iter().map(|data| (data.name().to_owned(), data.fingerprint())).collect();
    Known {
        name: prepared.recipe().name.clone(),
        training: prepared.recipe().package_fingerprint(),
        data,
        measured_on: prepared.test.name().to_owned(),
    }
}

fn sample(prepared: &Prepared) -> skysail_trainer::Input {
    let rows: Vec<u32> = (0..prepared.test.rows().min(SAMPLE) as u32).collect();
    prepared.test.batch(&rows).input
}

impl CompressionResult {
    fn text(&self, compressed: &Compressed) -> String {
        let density = compressed.density.iter().map(|(name, share)| {
            let bits = compressed.bits.iter().find(|(layer, _)| layer == name);
            let bits = bits.map_or(String::new(), |(_, bits)| format!(" in {bits} bits"));
            format!("\n  {name}: {:.2} %{bits}", share * 100.0)
        });
        format!(
            "{}: {} bytes, {:.1} times smaller than {}; {:.2} % right, {:.2} % before; {:.0} s{}",
            self.package.display(),
            self.bytes,
            self.times_smaller,
            self.dense_bytes,
            self.accuracy * 100.0,
            self.accuracy_before * 100.0,
            self.seconds,
            density.collect::<String>()
        )
    }
}
