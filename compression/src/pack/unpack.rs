//! `skysail-pack unpack`: the model of a package, as an ONNX file.

use crate::args::{BadUsage, check_out};
use crate::progress::Progress;
use crate::stop;
use crate::table::grouped;
use anyhow::{Context, Result};
use clap::Args;
use skysail_compression::Package;
use std::io::{self, Write};
use std::path::PathBuf;

mod standard;

const EXAMPLES: &str = "\
Examples:
  skysail-pack unpack model.sky
      Writes model.onnx, unless there is one.
  skysail-pack unpack model.sky -o again.onnx
      Says where to.

The file has ONNX's operators alone: int4 weights become float32 again. What the original had of
other domains stays, and is told.";

/// Makes an ONNX file of a package, which runs wherever ONNX does.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Flags {
    /// The package
    package: PathBuf,
    /// The model's file; one that is there is replaced [default: the package's, with .onnx]
    #[arg(short, long, value_name = "OUT.onnx")]
    out: Option<PathBuf>,
}

pub(crate) fn execute(flags: &Flags) -> Result<()> {
    let out = flags.out.clone().unwrap_or_else(|| flags.package.with_extension("onnx"));
    if out == flags.package || (flags.out.is_none() && out.exists()) {
        let said = format!("{} is there already: name the file with -o", out.display());
        return Err(BadUsage(said).into());
    }
    check_out(&out)?;
    let progress = Progress::new(2);
    progress.step(&format!("decoding {}", flags.package.display()));
    let cannot = || format!("cannot unpack {}", flags.package.display());
    let package = Package::open(&flags.package).with_context(cannot)?;
    let mut model = package.model().with_context(cannot)?;
    let others = standard::standardize(&mut model)?;
    progress.step(&format!("writing {}", out.display()));
    stop::whole(|| model.save(&out))?;
    drop(progress);
    let bytes = std::fs::metadata(&out)?.len();
    let mut to = io::stdout().lock();
    writeln!(to, "{}: {} bytes", out.display(), grouped(bytes))?;
    if !others.is_empty() {
        writeln!(to, "  operators of other domains than ONNX's stayed: {}", others.join(", "))?;
    }
    Ok(())
}
