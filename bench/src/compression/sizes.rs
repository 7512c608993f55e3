//! Sizes of packages of real models, everything included.

use super::inputs::{self, InputKind};
use super::timed::Timed;
use super::{Bench, Figure};
use crate::targets::Target;
use anyhow::{Result, ensure};
use ort::value::{DynValue, Tensor as Value};
use skysail_compression::{difference, npy};
use skysail_graph::{Model, TensorView};
use std::fs;
use std::io::Write;
use std::path::Path;

/// Greatest size of Deep Compression's own SqueezeNet, whose entropies add up to 0.545 MB.
const SQUEEZENET_BYTES_MAX: f64 = 580_000.0;

const MINILM_MB_MAX: f64 = 21.0;
const COSINE_MIN: f64 = 0.99;

/// Output of MiniLM that embeds the whole sentence.
const EMBEDDING: usize = 1;

/// Prints the table.
pub(super) fn table(out: &mut impl Write, bench: &Bench) -> Result<Vec<Figure>> {
    writeln!(
        out,
        "\n## Sizes\n\n| model | flags | ONNX bytes | package bytes | times smaller | kept |\n\
         |---|---|---:|---:|---:|---|"
    )?;
    let mut figures = Vec::new();
    match inputs::model(bench, "squeezenet1.0") {
        Some(model) => figures.extend(squeezenet(out, bench, &model)?),
        None => writeln!(out, "| squeezenet1.0 | | not at hand | | | |")?,
    }
    match inputs::model(bench, "all-minilm-l6-v2") {
        Some(model) => figures.extend(minilm(out, bench, &model)?),
        None => writeln!(out, "| all-minilm-l6-v2 | | not at hand | | | |")?,
    }
    Ok(figures)
}

fn squeezenet(out: &mut impl Write, bench: &Bench, model: &Path) -> Result<Vec<Figure>> {
    let package = bench.packer.pack("squeezenet", model, &[])?;
    let again = Model::load(bench.packer.unpack(&package)?)?;
    let original = Model::load(model)?;
    let bytes = |tensor: TensorView<'_>| Ok::<_, anyhow::Error>(tensor.bytes()?.into_owned());
    for tensor in original.graph().initializers() {
        let same = again.graph().initializer(tensor.name()).map(bytes).transpose()?;
        ensure!(same == Some(bytes(tensor)?), "'{}' has other bits", tensor.name());
    }
    row(out, "squeezenet1.0", "", (model, &package), "every bit")?;
    let bytes = fs::metadata(&package)?.len() as f64;
    Ok(vec![("SqueezeNet, lossless, bytes".into(), bytes, Target::AtMost(SQUEEZENET_BYTES_MAX))])
}

fn minilm(out: &mut impl Write, bench: &Bench, model: &Path) -> Result<Vec<Figure>> {
    let calibration = InputKind::Tokens.calibration(bench)?;
    let calibration = calibration.to_string_lossy();
    let flags = ["--int8", "dynamic", "--calibrate", &*calibration, "--force"];
    let package = bench.packer.pack("minilm", model, &flags)?;
    let unpacked = bench.packer.unpack(&package)?;
    let data = bench.data.join("models/all-minilm-l6-v2/test_data_set_0");
    let environment = skysail_engine::runtime::load(1)?;
    let embeddings = |file: &Path| {
        let mut model = Timed::dense(&environment, &fs::read(file)?, sentences(&data)?)?;
        model.output(EMBEDDING)
    };
    let closeness = difference(&embeddings(model)?, &embeddings(&unpacked)?)?;
    let (mean, min) = (closeness.cosine_mean, closeness.cosine_min);
    let kept = format!("cosine {mean:.4}, at least {min:.4}");
    row(out, "all-minilm-l6-v2", "--int8 dynamic --calibrate DIR", (model, &package), &kept)?;
    let megabytes = fs::metadata(&package)?.len() as f64 / 1e6;
    Ok(vec![
        ("MiniLM, int8, MB".into(), megabytes, Target::AtMost(MINILM_MB_MAX)),
        ("MiniLM, int8, least cosine".into(), min, Target::AtLeast(COSINE_MIN)),
    ])
}

/// Stored sentences, of five rows.
fn sentences(folder: &Path) -> Result<Vec<DynValue>> {
    (0..3)
        .map(|index| {
            let file = fs::read(folder.join(format!("input_{index}.npy")))?;
            let ids = npy::read(&file)?.bytes;
            let ids: Vec<i64> =
                ids.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect();
            let rows = 5;
            Ok(Value::from_array((vec![rows, ids.len() / rows], ids))?.into_dyn())
        })
        .collect()
}

fn row(
    out: &mut impl Write,
    name: &str,
    flags: &str,
    (model, package): (&Path, &Path),
    kept: &str,
) -> Result<()> {
    let (before, after) = (fs::metadata(model)?.len(), fs::metadata(package)?.len());
    let times = before as f64 / after as f64;
    Ok(writeln!(out, "| {name} | {flags} | {before} | {after} | {times:.2} | {kept} |")?)
}
