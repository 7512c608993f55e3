//! `skysail-pack inspect`: shows the content of a package and its sizes.

use crate::args::{Output, check_out};
use crate::table::{Table, grouped, hex, percent, shape};
use crate::{interrupt, plot};
use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};
use skysail_compression::{Bits, Package, Summary, TensorEntry};
use skysail_graph::write_atomically;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  skysail-pack inspect model.sky
      Prints a line for each tensor: the share of nonzero weights (kept), bits of a code and of
      a gap between nonzero weights (fixed length > after entropy coding), codec, size in
      bytes, and share of the file.
  skysail-pack inspect model.sky --plot weights.svg
      Also draws the weights of each layer, and their shared values.
  skysail-pack inspect model.sky --output json
      Prints JSON.

`verify` checks the content and the signature; this command does not.";

/// Show the tensors and the manifest of a package
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Flags {
    /// Package to show
    package: PathBuf,
    /// Also draw a histogram of each layer's weights and shared values, as SVG
    #[arg(long, value_name = "OUT.svg")]
    plot: Option<PathBuf>,
    /// Format of the result
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

pub(crate) fn execute(flags: &Flags) -> Result<()> {
    let cannot = || format!("cannot inspect {}", flags.package.display());
    let package = Package::open(&flags.package).with_context(cannot)?;
    if let Some(path) = &flags.plot {
        check_out(path)?;
        let drawing = plot::weights(&package).with_context(cannot)?;
        interrupt::uninterrupted(|| write_atomically(path, drawing.as_bytes()))?;
    }
    let mut to = io::stdout().lock();
    match flags.output {
        Output::Text => text(&mut to, &flags.package, &package)?,
        Output::Json => writeln!(to, "{:#}", as_json(&flags.package, &package))?,
    }
    Ok(())
}

fn text(to: &mut impl Write, path: &Path, package: &Package) -> Result<()> {
    let summary = package.summary();
    let (bytes, dense) = (grouped(summary.bytes), grouped(summary.dense_bytes));
    writeln!(to, "{}: format 1.{}", path.display(), package.format_minor())?;
    let ratio = summary.ratio();
    writeln!(to, "{bytes} bytes, {ratio:.2} times smaller than its values ({dense} bytes)\n")?;
    for line in tensors(&summary).lines() {
        writeln!(to, "{line}")?;
    }
    let tables = [
        ("segments", summary.segment_bytes),
        ("graph", summary.graph_bytes),
        ("index", summary.index_bytes),
        ("manifest", summary.manifest_bytes),
    ];
    let parts = tables.map(|(part, bytes)| format!("{part} {}", grouped(bytes)));
    writeln!(to, "\nbytes: {}", parts.join(", "))?;
    writeln!(to, "digest: {}", hex(&summary.digest))?;
    writeln!(to, "manifest: {}", serde_json::to_string_pretty(package.manifest())?)?;
    Ok(())
}

/// Builds a table with a row for each tensor, and one for all.
fn tensors(summary: &Summary) -> Table {
    let head =
        ["tensor", "shape", "type", "kept", "code bits", "gap bits", "codec", "bytes", "share"];
    let mut table = Table::new(&head);
    for entry in &summary.tensors {
        let stored = entry.codec.is_some();
        table.row([
            entry.name.clone(),
            shape(&entry.shape),
            entry.element.to_string(),
            percent(entry.density()),
            bits(entry.codes),
            bits(entry.gaps),
            codec(entry).to_owned(),
            if stored { grouped(entry.bytes) } else { String::new() },
            if stored { percent(summary.share(entry)) } else { String::new() },
        ]);
    }
    let sum = |of: fn(&TensorEntry) -> u64| summary.tensors.iter().map(of).sum::<u64>();
    let kept = sum(|entry| entry.kept) as f64 / sum(|entry| entry.count).max(1) as f64;
    let stored = summary.tensors.iter().filter(|entry| entry.codec.is_some());
    let stored: u64 = stored.map(|entry| entry.bytes).sum();
    let empty = String::new;
    table.row([
        format!("{} tensors", summary.tensors.len()),
        empty(),
        empty(),
        percent(kept),
        empty(),
        empty(),
        empty(),
        grouped(stored),
        percent(stored as f64 / summary.bytes.max(1) as f64),
    ]);
    table
}

/// Returns the name of the codec; small tensors lie in the graph.
fn codec(entry: &TensorEntry) -> &'static str {
    entry.codec.map_or("in graph", |codec| codec.name())
}

fn bits(bits: Option<Bits>) -> String {
    bits.map_or_else(String::new, |bits| format!("{:.2} > {:.2}", bits.before, bits.after))
}

fn as_json(path: &Path, package: &Package) -> Value {
    let summary = package.summary();
    let bits =
        |bits: Option<Bits>| bits.map(|bits| json!({ "before": bits.before, "after": bits.after }));
    let tensors = summary.tensors.iter().map(|entry| {
        json!({
            "name": entry.name,
            "element": entry.element.to_string(),
            "shape": entry.shape,
            "codec": codec(entry),
            "kept": entry.kept,
            "count": entry.count,
            "density": entry.density(),
            "distinct": entry.distinct,
            "code_bits": bits(entry.codes),
            "gap_bits": bits(entry.gaps),
            "dense_bytes": entry.dense_bytes,
            "bytes": entry.bytes,
            "share": summary.share(entry),
        })
    });
    json!({
        "package": path,
        "format": format!("1.{}", package.format_minor()),
        "bytes": summary.bytes,
        "dense_bytes": summary.dense_bytes,
        "ratio": summary.ratio(),
        "segment_bytes": summary.segment_bytes,
        "graph_bytes": summary.graph_bytes,
        "index_bytes": summary.index_bytes,
        "manifest_bytes": summary.manifest_bytes,
        "digest": hex(&summary.digest),
        "tensors": tensors.collect::<Vec<_>>(),
        "manifest": package.manifest(),
    })
}
