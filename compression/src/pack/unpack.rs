//! `skysail-pack unpack`: writes the model of a package as an ONNX file.

use crate::args::{BadUsage, check_out};
use crate::interrupt;
use crate::progress::Progress;
use crate::standard_operators::standardize;
use crate::table::grouped;
use anyhow::{Context, Result};
use clap::Args;
use skysail_compression::Package;
use std::io::{self, Write};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  skysail-pack unpack model.sky
      Writes model.onnx, unless it exists.
  skysail-pack unpack model.sky -o again.onnx
      Writes again.onnx, and replaces an existing file.

The model uses ONNX's own operators: int4 weights become float32 again. Operators of other
domains that the original had are left as they are, and listed.";

/// Restore the ONNX file of a package, which any ONNX runtime can run
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Flags {
    /// Package to unpack
    package: PathBuf,
    /// File of the model; an existing one is replaced [default: that of the package, with the
    /// extension .onnx; must not exist]
    #[arg(short, long, value_name = "OUT.onnx")]
    out: Option<PathBuf>,
}

pub(crate) fn execute(flags: &Flags) -> Result<()> {
    let out = flags.out.clone().unwrap_or_else(|| flags.package.with_extension("onnx"));
    if out == flags.package || (flags.out.is_none() && out.exists()) {
        let message = format!("{} is there already: name the file with -o", out.display());
        return Err(BadUsage(message).into());
    }
    check_out(&out)?;
    let progress = Progress::new(2);
    progress.step(&format!("decoding {}", flags.package.display()));
    let cannot = || format!("cannot unpack {}", flags.package.display());
    let package = Package::open(&flags.package).with_context(cannot)?;
    let mut model = package.model().with_context(cannot)?;
    let others = standardize(&mut model)?;
    progress.step(&format!("writing {}", out.display()));
    interrupt::uninterrupted(|| model.save(&out))?;
    drop(progress);
    let bytes = std::fs::metadata(&out)?.len();
    let mut to = io::stdout().lock();
    writeln!(to, "{}: {} bytes", out.display(), grouped(bytes))?;
    if !others.is_empty() {
        writeln!(to, "  operators of other domains than ONNX's stayed: {}", others.join(", "))?;
    }
    Ok(())
}
