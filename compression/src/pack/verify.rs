//! `skysail-pack verify`: checks the bytes and the signature of a package, and compares its
//! outputs.

use crate::args::{Output, Share};
use crate::compare::{CompareSettings, Comparison, Measure, compare};
use crate::data::DataSet;
use crate::keys;
use crate::progress::Progress;
use crate::table::{grouped, hex};
use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::json;
use skysail_compression::{Package, PublicKey, Seal};
use skysail_graph::Model;
use std::io::{self, Write};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  skysail-pack verify model.sky
      Decodes every tensor, and checks checksums, digest and signature.
  skysail-pack verify model.sky --key release.key.pub
      Also fails unless the package was signed with this key.
  skysail-pack verify model.sky --data test.npz --against model.onnx --max-loss 0.5%
      Also runs both models, and fails if the package loses more than 0.5 % of accuracy.

Exit status: 0 all checks passed, 1 a check failed, 2 bad usage.";

/// Check every byte and the signature of a package, and with --data its outputs
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Flags {
    /// Package to check
    package: PathBuf,
    /// Public key that the signature must be of; `keygen` creates it [default: any key, or none]
    #[arg(long, value_name = "PUBLIC")]
    key: Option<PathBuf>,
    /// Data to run both models on, in the form of `pack --data`
    #[arg(long, value_name = "FILE_OR_FOLDER", requires = "against")]
    data: Option<PathBuf>,
    /// ONNX file of the original model, to compare outputs with; needs --data
    #[arg(long, value_name = "ORIGINAL.onnx", requires = "data")]
    against: Option<PathBuf>,
    /// Fail if more than this share of the measure is lost, such as 0.005 or 0.5% [default: no
    /// limit]
    #[arg(long, value_name = "SHARE", requires = "data")]
    max_loss: Option<Share>,
    /// Measure of the loss [default: accuracy if there are labels, agreement for a classifier, else
    /// cosine]
    #[arg(long, value_enum, value_name = "MEASURE", requires = "data")]
    measure: Option<Measure>,
    /// Compare only this output of the model; may be repeated [default: all]
    #[arg(long, value_name = "OUTPUT", requires = "data")]
    compare_output: Vec<String>,
    /// Format of the result
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

pub(crate) fn execute(flags: &Flags) -> Result<()> {
    let key = flags.key.as_deref().map(keys::public).transpose()?;
    let wrong = || flags.package.display().to_string();
    let progress = Progress::new(2 + usize::from(flags.data.is_some()));
    let package = Package::open(&flags.package).with_context(wrong)?;
    progress.step("decoding every tensor");
    let tensors = decode(&package, &progress).with_context(wrong)?;
    progress.step("checking digest and signature");
    let seal = package.verify().with_context(wrong)?;
    check_key(&seal, key).with_context(wrong)?;
    let comparison = flags.compare(&package, &progress)?;
    drop(progress);
    if let (Some(comparison), Some(loss_max)) = (&comparison, flags.max_loss) {
        comparison.check(loss_max).with_context(wrong)?;
    }
    let found = Verified { tensors, seal, trusted: key.is_some(), comparison };
    let mut to = io::stdout().lock();
    match flags.output {
        Output::Text => found.text(&mut to, &flags.package.display().to_string())?,
        Output::Json => found.json(&mut to, &flags.package.display().to_string())?,
    }
    Ok(())
}

/// Decodes all tensors and drops them; gives their number. The error names the tensor and offset.
fn decode(package: &Package, progress: &Progress) -> Result<usize> {
    let stored = package.tensors().iter().filter(|entry| entry.codec.is_some());
    let stored: Vec<&str> = stored.map(|entry| entry.name.as_str()).collect();
    for (done, name) in stored.iter().enumerate() {
        progress.part("decoding", done, stored.len());
        package.tensor(name)?;
    }
    Ok(stored.len())
}

fn check_key(seal: &Seal, wanted: Option<PublicKey>) -> Result<()> {
    match (wanted, seal.signed_by) {
        (Some(wanted), Some(found)) if wanted != found => {
            bail!("it was signed with the key {found}, not with {wanted}")
        }
        (Some(_), None) => bail!("it is not signed"),
        _ => Ok(()),
    }
}

impl Flags {
    fn compare(&self, package: &Package, progress: &Progress) -> Result<Option<Comparison>> {
        let (Some(data), Some(against)) = (&self.data, &self.against) else { return Ok(None) };
        progress.step("comparing with the original");
        let cannot = || format!("cannot use the model {}", against.display());
        let original = Model::load(against).with_context(cannot)?;
        let model = package.model()?;
        let data = DataSet::load(data, &original)?;
        let settings = CompareSettings { measure: self.measure, outputs: &self.compare_output };
        Ok(Some(compare([&original, &model], &data, settings, progress)?))
    }
}

/// Result of the checks.
struct Verified {
    tensors: usize,
    seal: Seal,
    /// True if the signature is that of the key in the flags.
    trusted: bool,
    comparison: Option<Comparison>,
}

impl Verified {
    fn text(&self, to: &mut impl Write, package: &str) -> io::Result<()> {
        writeln!(to, "{package}: right")?;
        writeln!(to, "  tensors    {} decoded, checksums right", grouped(self.tensors as u64))?;
        writeln!(to, "  digest     {}", hex(&self.seal.digest))?;
        match self.seal.signed_by {
            None => writeln!(to, "  signature  none")?,
            Some(key) if self.trusted => {
                writeln!(to, "  signature  right, of the key asked for, {key}")?;
            }
            Some(key) => {
                writeln!(to, "  signature  right, of {key}; --key says whether to trust it")?;
            }
        }
        let Some(comparison) = &self.comparison else { return Ok(()) };
        let (words, rows) = (comparison.measure.describe(), comparison.rows);
        writeln!(to, "  outputs    {words}, {rows} rows of {}", comparison.data)?;
        for figure in &comparison.figures {
            let (words, apart) = (figure.describe(), figure.difference_max);
            writeln!(to, "             {words}, elements differ by at most {apart:.3e}")?;
        }
        Ok(())
    }

    fn json(&self, to: &mut impl Write, package: &str) -> io::Result<()> {
        let comparison = self.comparison.as_ref().map(Comparison::json);
        let found = json!({
            "package": package,
            "tensors": self.tensors,
            "digest": hex(&self.seal.digest),
            "signed_by": self.seal.signed_by.map(|key| key.to_string()),
            "trusted": self.trusted,
            "comparison": comparison,
        });
        writeln!(to, "{found:#}")
    }
}
