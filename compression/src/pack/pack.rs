//! `skysail-pack pack`: writes a package of a model, lossless or compressed.

use crate::args::{BadConfiguration, BadUsage, Output, check_out};
use crate::compare::{CompareSettings, Comparison, compare};
use crate::data::DataSet;
use crate::options::Options;
use crate::progress::Progress;
use crate::recipe::Recipe;
use crate::table::hex;
use crate::{interrupt, keys};
use anyhow::{Context, Result, anyhow};
use clap::Args;
use report::Report;
use sha2::{Digest, Sha256};
use skysail_compression::{Manifest, Package, PackageWriter, Parent, PerLayer, layers};
use skysail_graph::{Model, write_atomically};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use steps::{Compressor, Outcome};

mod timing;
mod report;
mod steps;

const EXAMPLES: &str = "\
Examples:
  skysail-pack pack model.onnx
      Writes model.sky without loss: it is smaller if weights have structure.
  skysail-pack pack model.onnx --prune 30% --bits 5 --data test.npz --max-loss 0.5%
      Keeps the largest 30 % of the weights, and lets those of a layer share 2^5 = 32 values.
      Writes nothing if that loses more than 0.5 % of accuracy on test.npz.
  skysail-pack pack model.onnx --int8 static --calibrate train.npz
      Uses 8-bit integers, if they are faster on this machine. For transformers:
      --int8 dynamic --calibrate train.npz
  skysail-pack pack model.onnx --recipe small.toml --sign release.key -o small.sky
      Reads options from a file, and signs the package. The file's keys are the flags:
        prune = 0.3
        bits = 5
        [bits-layer]
        \"fc8.weight\" = 8

Exit status: 0 done, 1 failed (also if too much was lost), 2 bad usage, 64 bad recipe.";

/// Write a package of an ONNX model; without loss, unless flags ask for it
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Flags {
    /// ONNX file of the model
    model: PathBuf,
    /// File of the package; an existing one is replaced [default: that of the model, with the
    /// extension .sky]
    #[arg(short, long = "out", value_name = "OUT.sky")]
    out: Option<PathBuf>,
    /// TOML file of options; the long flags below are its keys, and flags override it
    #[arg(long, value_name = "FILE.toml")]
    recipe: Option<PathBuf>,
    /// Format of the result
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
    #[command(flatten)]
    options: Options,
}

pub(crate) fn execute(flags: Flags) -> Result<()> {
    let recipe = flags.recipe.as_deref().map(Recipe::load).transpose()?;
    let options = match &recipe {
        Some(recipe) => flags.options.overriding(recipe.options.clone()),
        None => flags.options,
    };
    if let Some(what) = options.conflict() {
        return Err(match &flags.recipe {
            Some(path) => {
                BadConfiguration(format!("{} and the flags: {what}", path.display())).into()
            }
            None => BadUsage(as_flags(what)).into(),
        });
    }
    let signer = options.sign.as_deref().map(keys::signer).transpose()?;
    let out = flags.out.unwrap_or_else(|| flags.model.with_extension("sky"));
    if out == flags.model {
        return Err(
            BadUsage("the package would replace the model: name another with -o".into()).into()
        );
    }
    check_out(&out)?;

    let progress = Progress::new(3 + steps::count(&options));
    progress.step(&format!("reading {}", flags.model.display()));
    let original = load(&flags.model)?;
    check_layers(&original, &options, recipe.as_ref())?;
    let calibration = data(options.calibrate.as_deref(), &original)?;
    let data = data(options.data.as_deref(), &original)?;
    let mut packed = original.clone();
    let typical = calibration.as_ref().or(data.as_ref());
    let work = Compressor { options: &options, typical, progress: &progress };
    let done = work.compress(&original, &mut packed)?;
    let comparison = data.as_ref().map(|data| {
        progress.step("comparing the packed model with the original");
        let settings =
            CompareSettings { measure: options.measure, outputs: &options.compare_output };
        compare([&original, &packed], data, settings, &progress)
    });
    let comparison = comparison.transpose()?;
    if let (Some(comparison), Some(loss_max)) = (&comparison, options.max_loss) {
        comparison.check(loss_max).context("no package was written")?;
    }

    progress.step("encoding tensors");
    let manifest = manifest(&flags.model, &options, &done, comparison.as_ref(), data.as_ref())?;
    let mut writer = PackageWriter::new(&packed).manifest(manifest);
    if let Some(signer) = signer {
        writer = writer.sign(signer);
    }
    let bytes = writer.to_bytes()?;
    progress.step(&format!("writing {}", out.display()));
    interrupt::uninterrupted(|| write_atomically(&out, &bytes))?;
    drop(progress);
    let summary = Package::from_bytes(bytes)?.summary();
    let loss_max = options.max_loss;
    let report = Report { model: &flags.model, out: &out, summary, done, comparison, loss_max };
    Ok(report.print(&mut io::stdout().lock(), flags.output)?)
}

/// Replaces option names in backquotes by flags.
fn as_flags(what: &str) -> String {
    let dashes = ["", "--"].into_iter().cycle();
    what.split('`').zip(dashes).flat_map(|(part, dashes)| [dashes, part]).collect()
}

fn load(path: &Path) -> Result<Model> {
    let packed = "it is a package already: `skysail-pack unpack` makes a model of it";
    let loaded = Model::load(path).map_err(|error| match Package::open(path) {
        Ok(_) => anyhow!(packed),
        Err(_) => error.into(),
    });
    loaded.with_context(|| format!("cannot use the model {}", path.display()))
}

fn data(path: Option<&Path>, model: &Model) -> Result<Option<DataSet>> {
    path.map(|path| DataSet::load(path, model)).transpose()
}

/// Rejects names of layers that the model does not have, before any long work.
fn check_layers(model: &Model, options: &Options, recipe: Option<&Recipe>) -> Result<()> {
    let layers = layers(model)?;
    if let Some(recipe) = recipe {
        recipe.check(&layers)?;
    }
    let pruned = options.prune_layer.iter().map(|named| &named.layer);
    for name in pruned.chain(options.bits_layer.iter().map(|named| &named.layer)) {
        PerLayer::none().with(name, Some(())).resolve(&layers)?;
    }
    Ok(())
}

/// Builds the manifest of the packed model.
fn manifest(
    model: &Path,
    options: &Options,
    done: &Outcome,
    comparison: Option<&Comparison>,
    data: Option<&DataSet>,
) -> Result<Manifest> {
    let parents = [model].into_iter().chain(options.parent.iter().map(PathBuf::as_path));
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let mut manifest = Manifest {
        name: options.name.clone().unwrap_or_else(|| name_of(model)),
        owner: text(&options.owner),
        licence: text(&options.licence),
        parents: parents.map(parent).collect::<Result<_>>()?,
        steps: done.steps.clone(),
        tensors: done.tensors.clone(),
        notes: options.note.iter().chain(&done.notes).cloned().collect(),
        ..Manifest::default()
    };
    if let (Some(comparison), Some(data)) = (comparison, data) {
        manifest.accuracy = comparison.accuracy();
        manifest.data.insert(data.name.clone(), data.sha256.clone());
        manifest.inputs = comparison.inputs.clone();
        manifest.outputs = comparison.outputs.clone();
    }
    Ok(manifest)
}

/// Returns the model's name: that of its file, or of its folder if the file is `model.onnx`.
fn name_of(path: &Path) -> String {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy());
    let folder = path.parent().and_then(Path::file_name).map(|name| name.to_string_lossy());
    match (stem, folder) {
        (Some(stem), Some(folder)) if stem == "model" => folder.into_owned(),
        (stem, _) => stem.unwrap_or_default().into_owned(),
    }
}

fn parent(path: &Path) -> Result<Parent> {
    let cannot = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(cannot)?;
    let (mut digest, mut piece) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut piece).with_context(cannot)? {
            0 => break,
            read => digest.update(&piece[..read]),
        }
    }
    let sha256 = hex(&digest.finalize());
    Ok(Parent { name: name_of(path), sha256, ..Parent::default() })
}
