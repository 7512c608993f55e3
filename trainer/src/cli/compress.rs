//! `skysail-train compress`: compresses a trained model by its recipe.

use super::BadUsage;
use super::evaluate::load;
use super::launcher::Launcher;
use super::output::{Output, print};
use super::run::MODEL;
use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;
use skysail_compression::PackageWriter;
use skysail_trainer::{
    CompressedModel, CompressionReport, NetworkTask, PackageInfo, PreparedRecipe, Recipe,
    TrainTask as _, describe,
};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// File name of the package in the output folder.
const PACKAGE: &str = "model.sky";
/// Rows of the test data from which the package's input and output statistics are computed.
const SAMPLE: usize = 1_000;

/// Compress a trained model into a package (model.sky) by the recipe's section `compress`.
///
/// Prunes the model in rounds and retrains it after each round. Then the remaining weights are
/// clustered to a few shared values, which are fine-tuned (Deep Compression). Nothing is written if
/// the test accuracy falls by more than the recipe's `loss-max`.
#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Path of the recipe that trained the model, a TOML file.
    recipe: PathBuf,
    /// Path of the trained ONNX model [default: model.onnx in the output folder].
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Number of workers, each a thread of this process [default: `ranks` of the recipe].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    ranks: Option<u16>,
    /// Seed of all random numbers [default: `seed` of the recipe].
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Override one key of the recipe, such as compress.rounds=4; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Output folder, to which model.sky is written [default: `output` of the recipe, or
    /// runs/NAME].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Format of the printed result.
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

/// The printed result of `compress`.
#[derive(Debug, Serialize)]
struct CompressionResult {
    recipe: String,
    package: PathBuf,
    bytes: u64,
    /// Size of all parameters as float32.
    dense_bytes: u64,
    compression_ratio: f64,
    density: f64,
    accuracy_before: f32,
    accuracy: f32,
    seconds: f64,
}

/// Runs `skysail-train compress`.
pub(super) fn execute(flags: &Flags, stop: &AtomicBool) -> Result<()> {
    Launcher::require_threads("compress")?;
    let mut recipe = Recipe::load(&flags.recipe, &flags.set)?;
    recipe.seed = flags.seed.unwrap_or(recipe.seed);
    let out = flags.out.clone().unwrap_or_else(|| recipe.output());
    let ranks = flags.ranks.map_or(recipe.ranks, usize::from);
    let path = flags.model.clone().unwrap_or_else(|| out.join(MODEL));
    if !path.exists() {
        let text = format!(
            "there is no {}: train it with `skysail-train run {}`, or give its path with --model",
            path.display(),
            flags.recipe.display()
        );
        return Err(BadUsage(text).into());
    }
    let started = Instant::now();
    let model = load(&path).with_context(|| format!("cannot use {}", path.display()))?;
    let prepared = recipe.prepare(ranks)?;
    let compressed = prepared.compress(&model, ranks, stop, &CompressionReport::default())?;
    let manifest = describe(&compressed, package_info(&prepared), &sample(&prepared))?;
    let package = out.join(PACKAGE);
    std::fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    let written = PackageWriter::new(&compressed.model).manifest(manifest).write(&package)?;
    let dense_bytes = 4 * NetworkTask::new(model)?.layout().len() as u64;
    let result = CompressionResult {
        recipe: recipe.name.clone(),
        package,
        bytes: written.bytes,
        dense_bytes,
        compression_ratio: dense_bytes as f64 / written.bytes as f64,
        density: compressed.steps.last().map_or(1.0, |done| done.density),
        accuracy_before: compressed.accuracy[0],
        accuracy: compressed.accuracy[1],
        seconds: started.elapsed().as_secs_f64(),
    };
    print(flags.output, &result, &result.text(&compressed))
}

fn package_info(prepared: &PreparedRecipe) -> PackageInfo {
    let data = [&prepared.train, &prepared.test];
    let data: BTreeMap<_, _> =
        data.into_iter().map(|data| (data.name().to_owned(), data.fingerprint())).collect();
    PackageInfo {
        name: prepared.recipe().name.clone(),
        training: prepared.recipe().package_fingerprint(),
        data,
        measured_on: prepared.test.name().to_owned(),
    }
}

fn sample(prepared: &PreparedRecipe) -> skysail_trainer::Input {
    let rows: Vec<u32> = (0..prepared.test.rows().min(SAMPLE) as u32).collect();
    prepared.test.batch(&rows).input
}

impl CompressionResult {
    fn text(&self, compressed: &CompressedModel) -> String {
        let density = compressed.density.iter().map(|(name, share)| {
            let bits = compressed.bits.iter().find(|(layer, _)| layer == name);
            let bits = bits.map_or(String::new(), |(_, bits)| format!(" in {bits} bits"));
            format!("\n  {name}: {:.2} %{bits}", share * 100.0)
        });
        format!(
            "{}: {} bytes, {:.1} times smaller than {}; accuracy {:.2} %, before {:.2} %; {:.0} s{}",
            self.package.display(),
            self.bytes,
            self.compression_ratio,
            self.dense_bytes,
            self.accuracy * 100.0,
            self.accuracy_before * 100.0,
            self.seconds,
            density.collect::<String>()
        )
    }
}
