//! `skysail-pack diff`: compares the tensors of two models, packages or not.

use crate::args::Output;
use crate::table::{Table, grouped, percent, shape};
use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;
use serde_json::json;
use skysail_compression::{Package, PackageError, difference};
use skysail_graph::{ElementType, Model, Tensor};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  skysail-pack diff model.onnx model.sky
      Prints the tensors that packing changed: none, if it was lossless.
  skysail-pack diff v1.sky v2.sky --output json
      Prints added, removed and changed tensors as JSON.

Exit status: 0 compared, whether they differ or not; 1 failed; 2 bad usage.";

/// Compare the tensors of two models, packages or ONNX files
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Flags {
    /// First model: a package or an ONNX file
    a: PathBuf,
    /// Second model
    b: PathBuf,
    /// Format of the result
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

pub(crate) fn execute(flags: &Flags) -> Result<()> {
    let sides = [Side::load(&flags.a)?, Side::load(&flags.b)?];
    let changes = changes(&sides)?;
    let operators = operators(&sides);
    let mut to = io::stdout().lock();
    match flags.output {
        Output::Text => text(&mut to, flags, &sides, &changes, &operators)?,
        Output::Json => {
            let bytes = [sides[0].bytes, sides[1].bytes];
            let found = json!({
                "a": flags.a,
                "b": flags.b,
                "bytes": bytes,
                "changes": changes,
                "operators": operators,
            });
            writeln!(to, "{found:#}")?;
        }
    }
    Ok(())
}

/// A model, and the sizes in its file.
struct Side {
    model: Model,
    /// Size of the file in bytes.
    bytes: u64,
    /// Size of each tensor in the file, in bytes.
    stored: BTreeMap<String, u64>,
}

impl Side {
    fn load(path: &Path) -> Result<Self> {
        let cannot = || format!("cannot read {}", path.display());
        let bytes = std::fs::metadata(path).with_context(cannot)?.len();
        match Package::open(path) {
            Ok(package) => {
                let entries = package.tensors().iter();
                let stored = entries.map(|entry| (entry.name.clone(), entry.bytes)).collect();
                Ok(Self { model: package.model().with_context(cannot)?, bytes, stored })
            }
            Err(PackageError::NotAPackage) => {
                let mut model = Model::load(path).with_context(cannot)?;
                model.inline_external_data().with_context(cannot)?;
                Ok(Self { model, bytes, stored: BTreeMap::new() })
            }
            Err(error) => Err(error).with_context(cannot),
        }
    }

    /// Returns the tensor of this name, unless it holds strings.
    fn tensor(&self, name: &str) -> Result<Option<StoredTensor>> {
        let view = self.model.graph().initializer(name);
        let Some(view) = view.filter(|view| view.element() != ElementType::String) else {
            return Ok(None);
        };
        let tensor = view.to_tensor()?;
        let bytes = tensor.bytes().len() as u64;
        Ok(Some(StoredTensor { bytes: self.stored.get(name).copied().unwrap_or(bytes), tensor }))
    }
}

/// A tensor of a model, and its size in the file.
struct StoredTensor {
    tensor: Tensor,
    bytes: u64,
}

impl StoredTensor {
    fn part(&self) -> TensorSummary {
        TensorSummary {
            element: self.tensor.element().to_string(),
            shape: self.tensor.shape().to_vec(),
            kept: kept(&self.tensor),
            bytes: self.bytes,
        }
    }
}

/// A tensor that differs between the models.
#[derive(Debug, Serialize)]
struct Change {
    name: String,
    what: ChangeKind,
    a: Option<TensorSummary>,
    b: Option<TensorSummary>,
    /// Largest difference of two elements, if the tensors can be compared.
    difference_max: Option<f32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum ChangeKind {
    Added,
    Removed,
    Changed,
}

/// Description of a tensor.
#[derive(Debug, Serialize)]
struct TensorSummary {
    element: String,
    shape: Vec<u64>,
    /// Share of elements that are not zero; 1 when there are none.
    kept: f64,
    bytes: u64,
}

fn changes([a, b]: &[Side; 2]) -> Result<Vec<Change>> {
    let names = |side: &Side| -> BTreeSet<String> {
        side.model.graph().initializers().map(|view| view.name().to_owned()).collect()
    };
    let mut changes = Vec::new();
    for name in names(a).union(&names(b)) {
        let (a, b) = (a.tensor(name)?, b.tensor(name)?);
        let what = match (&a, &b) {
            (Some(a), Some(b)) if a.tensor == b.tensor => continue,
            (Some(_), Some(_)) => ChangeKind::Changed,
            (Some(_), None) => ChangeKind::Removed,
            (None, Some(_)) => ChangeKind::Added,
            (None, None) => continue,
        };
        let differences = a.as_ref().zip(b.as_ref());
        let differences = differences.and_then(|(a, b)| difference(&a.tensor, &b.tensor).ok());
        changes.push(Change {
            name: name.clone(),
            what,
            a: a.as_ref().map(StoredTensor::part),
            b: b.as_ref().map(StoredTensor::part),
            difference_max: differences.map(|differences| differences.absolute),
        });
    }
    Ok(changes)
}

/// Share of elements that are not zero; 1 when there are none.
fn kept(tensor: &Tensor) -> f64 {
    let width = tensor.element().bytes(1).unwrap_or(1).max(1) as usize;
    let elements = tensor.bytes().chunks(width);
    let count = elements.len();
    let kept = elements.filter(|element| element.iter().any(|byte| *byte != 0)).count();
    if count == 0 { 1.0 } else { kept as f64 / count as f64 }
}

/// Counts the nodes of each operator that the second model has more, or less.
fn operators([a, b]: &[Side; 2]) -> BTreeMap<String, i64> {
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    for (side, weight) in [(a, -1), (b, 1)] {
        for node in side.model.graph().nodes() {
            *counts.entry(node.op_type().to_owned()).or_default() += weight;
        }
    }
    counts.retain(|_, count| *count != 0);
    counts
}

fn text(
    to: &mut impl Write,
    flags: &Flags,
    sides: &[Side; 2],
    changes: &[Change],
    operators: &BTreeMap<String, i64>,
) -> io::Result<()> {
    for (path, side) in [&flags.a, &flags.b].into_iter().zip(sides) {
        writeln!(to, "{}: {} bytes", path.display(), grouped(side.bytes))?;
    }
    if changes.is_empty() {
        writeln!(to, "all tensors are the same")?;
    } else {
        let mut table =
            Table::new(&["tensor", "", "shape", "type", "largest difference", "kept", "bytes"]);
        changes.iter().for_each(|change| table.row(change.cells()));
        for line in table.lines() {
            writeln!(to, "{line}")?;
        }
    }
    if !operators.is_empty() {
        let counts = operators.iter().map(|(name, count)| format!("{count:+} {name}"));
        writeln!(to, "operators: {}", counts.collect::<Vec<_>>().join(", "))?;
    }
    Ok(())
}

impl Change {
    fn cells(&self) -> [String; 7] {
        let both = |cell: &dyn Fn(&TensorSummary) -> String| match (&self.a, &self.b) {
            (Some(a), Some(b)) if cell(a) != cell(b) => format!("{} > {}", cell(a), cell(b)),
            (Some(part), _) | (None, Some(part)) => cell(part),
            (None, None) => String::new(),
        };
        [
            self.name.clone(),
            format!("{:?}", self.what).to_lowercase(),
            both(&|part| shape(&part.shape)),
            both(&|part| part.element.clone()),
            self.difference_max
                .map_or_else(String::new, |differences| format!("{differences:.3e}")),
            both(&|part| percent(part.kept)),
            both(&|part| grouped(part.bytes)),
        ]
    }
}
