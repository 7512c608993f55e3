//! Results of the recipes, trained to their ends by the trainer's program.

use super::Figure;
use crate::targets::Target;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use skysail_trainer::Recipe;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Least ratio of a package's size to its float32 weights.
const SMALLER: [(&str, f64); 2] = [("lenet-300-100", 40.0), ("lenet-5", 39.0)];
/// Pairs of recipes, and the greatest additional error of the first, in percentage points.
const WITHIN: [(&str, &str, f64); 2] =
    [("dgc-lenet-5", "dgc-dense-lenet-5", 0.1), ("goyal-large-batch", "goyal-small-batch", 0.15)];
/// Greatest time of a full compression of LeNet-300-100, in seconds.
const COMPRESS_SECONDS_MAX: (&str, f64) = ("lenet-300-100", 600.0);

/// Trains all or the named recipes of a folder, and prints their results.
pub(super) fn table(
    out: &mut impl Write,
    programs: &Path,
    folder: &Path,
    only: &[String],
) -> Result<Vec<Figure>> {
    let trainer = programs.join("skysail-train");
    ensure!(trainer.is_file(), "{} is not built", trainer.display());
    let results = tempfile::tempdir()?;
    writeln!(
        out,
        "\n## Recipes\n\n\
         | recipe | ranks | epochs | error % | best error % | target | sent MB | s |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|"
    )?;
    let mut wrong = BTreeMap::new();
    let mut figures = Vec::new();
    let mut packages = Vec::new();
    for path in recipes(folder, only)? {
        let recipe = Recipe::load(&path, &[])?;
        let place = results.path().join(&recipe.name);
        let found = call(&trainer, "run", &path, &place)?;
        row(out, &recipe, &found)?;
        let share = found["accuracy"].as_f64().context("no accuracy")?;
        wrong.insert(recipe.name.clone(), 100.0 * (1.0 - share));
        figures.extend(goals(&recipe, &found));
        if recipe.compress.is_some() {
            packages.push((recipe.name.clone(), call(&trainer, "compress", &path, &place)?));
        }
    }
    for (name, package) in &packages {
        figures.extend(compressed(out, name, package)?);
    }
    for (name, other, points) in WITHIN {
        if let (Some(wrong), Some(other_wrong)) = (wrong.get(name), wrong.get(other)) {
            let what = format!("{name}: error above that of {other}, points");
            figures.push((what, wrong - other_wrong, Target::AtMost(points)));
        }
    }
    Ok(figures)
}

/// Files of recipes, by name.
fn recipes(folder: &Path, only: &[String]) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("no {}", folder.display()))?;
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| Ok(entry?.path())).collect::<Result<_, std::io::Error>>()?;
    paths.retain(|path| {
        let name = path.file_stem().map(|name| name.to_string_lossy().into_owned());
        let wanted = |name: &String| only.is_empty() || only.contains(name);
        path.extension().is_some_and(|end| end == "toml") && name.as_ref().is_some_and(wanted)
    });
    ensure!(!paths.is_empty(), "no such recipe in {}", folder.display());
    paths.sort();
    Ok(paths)
}

/// Runs the trainer to its end. It fails if the target is missed, but still prints its result.
fn call(trainer: &Path, command: &str, recipe: &Path, place: &Path) -> Result<Value> {
    let mut program = Command::new(trainer);
    program.arg(command).arg(recipe).arg("--out").arg(place).args(["--output", "json"]);
    let output = program.output().with_context(|| format!("{program:?} does not start"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim().lines().last().unwrap_or_default();
    serde_json::from_slice(&output.stdout).with_context(|| format!("{program:?}: {said}"))
}

fn row(out: &mut impl Write, recipe: &Recipe, found: &Value) -> Result<()> {
    let number = |key: &str| found[key].as_f64().unwrap_or(f64::NAN);
    let wrong = |key: &str| format!("{:.2}", 100.0 * (1.0 - number(key)));
    let target = found["target"].as_f64();
    let target = target.map_or_else(String::new, |share| format!("{:.2}", 100.0 * (1.0 - share)));
    writeln!(
        out,
        "| {} | {} | {} | {} | {} | {target} | {:.1} | {:.0} |",
        recipe.name,
        number("ranks"),
        number("epochs"),
        wrong("accuracy"),
        wrong("best_accuracy"),
        number("bytes_sent") / 1e6,
        number("seconds"),
    )?;
    out.flush()?;
    Ok(())
}

/// Targets of the recipe itself.
fn goals(recipe: &Recipe, found: &Value) -> Option<Figure> {
    let target = f64::from(recipe.target.accuracy?);
    let reached = found["best_accuracy"].as_f64()?;
    let what = format!("{}: accuracy %", recipe.name);
    // The recipe's numbers are in single precision.
    let bar = (1e4 * target).round() / 1e2;
    Some((what, 100.0 * reached, Target::AtLeast(bar)))
}

/// Figures of a compression.
fn compressed(out: &mut impl Write, name: &str, package: &Value) -> Result<Vec<Figure>> {
    let number = |key: &str| package[key].as_f64().unwrap_or(f64::NAN);
    let (smaller, seconds) = (number("compression_ratio"), number("seconds"));
    writeln!(
        out,
        "\n{name}: package of {} bytes, {smaller:.1} times smaller; error {:.2} %, before {:.2} %; \
         {seconds:.0} s",
        number("bytes"),
        100.0 * (1.0 - number("accuracy")),
        100.0 * (1.0 - number("accuracy_before")),
    )?;
    let mut figures = Vec::new();
    if let Some((_, bar)) = SMALLER.iter().find(|(recipe, _)| *recipe == name) {
        figures.push((format!("{name}: times smaller"), smaller, Target::AtLeast(*bar)));
    }
    if COMPRESS_SECONDS_MAX.0 == name {
        let bar = Target::AtMost(COMPRESS_SECONDS_MAX.1);
        figures.push((format!("{name}: seconds to compress"), seconds, bar));
    }
    Ok(figures)
}
