//! Ranks as processes under `mpirun`: their sums beside MPI's own, and scaling. The trainer's
//! examples measure and print rows; these are collected here.

use super::Figure;
use crate::targets::Target;
use anyhow::{Context, Result, anyhow, ensure};
use skysail_loadtest::quantiles::median;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::Command;

/// Greatest ratio of a sum's time to MPI's own, and the least length for which it holds. Shorter
/// sums are mostly the arrival check, which takes a microsecond and which MPI's own lacks.
const SUM_RATIO_MAX: f64 = 1.2;
const SUM_LEN_MIN: f64 = 10_000.0;
/// Least ratio of rows a second of two ranks to one.
const SCALING_MIN: f64 = 1.8;
/// Message where MPI is not installed.
const NO_MPI: &str = "Skipped: there is no MPI. On Debian, as root: apt-get install \
    libopenmpi-dev openmpi-bin libclang-dev clang";

/// Prints the table of sums.
pub(super) fn sums(out: &mut impl Write, programs: &Path) -> Result<Vec<Figure>> {
    writeln!(out, "\n## Sums over two processes\n")?;
    let Some(rows) = rows(programs, "all_reduce", 2, &[])? else {
        writeln!(out, "{NO_MPI}")?;
        return Ok(Vec::new());
    };
    writeln!(out, "| numbers | ms | MPI's own ms | ratio |\n|---:|---:|---:|---:|")?;
    let mut figures = Vec::new();
    for row in rows {
        writeln!(out, "| {} |", row.join(" | "))?;
        if number(&row, 0)? >= SUM_LEN_MIN {
            let what = format!("sum of {} numbers, time relative to MPI's own", row[0]);
            figures.push((what, number(&row, 3)?, Target::AtMost(SUM_RATIO_MAX)));
        }
    }
    Ok(figures)
}

/// Prints the table of scaling.
pub(super) fn scaling(out: &mut impl Write, programs: &Path, quick: bool) -> Result<Vec<Figure>> {
    writeln!(out, "\n## Two ranks under MPI beside one, a thread each, batch 64 a rank\n")?;
    let mut figures = Vec::new();
    let (turns, steps) = if quick { (1, "5") } else { (3, "60") };
    for model in ["lenet-5", "cnn"] {
        let rate = |ranks| rate(programs, ranks, &[model, steps]);
        let mut rates = [const { Vec::new() }; 3];
        for _ in 0..turns {
            let [one, two, apart] = &mut rates;
            let (Some(of_one), Some(of_two)) = (rate(1)?, rate(2)?) else {
                writeln!(out, "{NO_MPI}")?;
                return Ok(Vec::new());
            };
            one.push(of_one);
            two.push(of_two);
            apart.extend(at_once(|| rate(1))?);
        }
        if figures.is_empty() {
            writeln!(
                out,
                "| model | 1 rank rows/s | 2 ranks rows/s | ratio | 2 independent jobs rows/s | ratio |"
            )?;
            writeln!(out, "|---|---:|---:|---:|---:|---:|")?;
        }
        let [one, two, apart] = rates.each_ref().map(|rates| median(rates));
        let (times, times_apart) = (two / one, apart / one);
        writeln!(
            out,
            "| {model} | {one:.0} | {two:.0} | {times:.2} | {apart:.0} | {times_apart:.2} |"
        )?;
        figures.push((format!("{model}: 2 ranks over 1"), times, Target::AtLeast(SCALING_MIN)));
    }
    Ok(figures)
}

/// Rows a second of a number of ranks.
fn rate(programs: &Path, ranks: usize, args: &[&str]) -> Result<Option<f64>> {
    let Some(rows) = rows(programs, "scaling", ranks, args)? else { return Ok(None) };
    number(rows.first().context("no row")?, 3).map(Some)
}

/// Rows a second of two independent jobs at the same time: the limit of two ranks that never wait.
fn at_once(job: impl Fn() -> Result<Option<f64>> + Sync) -> Result<Option<f64>> {
    let (here, there) = std::thread::scope(|scope| {
        let there = scope.spawn(&job);
        (job(), there.join())
    });
    let there = there.map_err(|_| anyhow!("a job panicked"))??;
    Ok(here?.zip(there).map(|(here, there)| here + there))
}

/// Rows that an example prints on a number of ranks of one thread each. `None` without MPI, or if
/// the example was built without it.
fn rows(
    programs: &Path,
    example: &str,
    ranks: usize,
    args: &[&str],
) -> Result<Option<Vec<Vec<String>>>> {
    // This example is built only with MPI, so it stands for the other one, too.
    if !programs.join("examples/scaling").is_file() {
        return Ok(None);
    }
    let mut command = Command::new("mpirun");
    command.args(["--allow-run-as-root", "--oversubscribe", "-n", &ranks.to_string()]);
    // Two jobs would otherwise share the first core.
    command.args(["--bind-to", "none"]);
    command.arg(programs.join("examples").join(example)).args(args);
    command.env("RAYON_NUM_THREADS", "1");
    let output = match command.output() {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context("cannot start mpirun"),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}", said.trim());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(Some(text.lines().filter_map(cells).collect()))
}

/// Cells of a row.
fn cells(line: &str) -> Option<Vec<String>> {
    let inside = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(inside.split('|').map(|cell| cell.trim().to_owned()).collect())
}

/// Number in a cell.
fn number(row: &[String], cell: usize) -> Result<f64> {
    let text = row.get(cell).with_context(|| format!("no cell {cell} in {row:?}"))?;
    text.parse().with_context(|| format!("'{text}' is not a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rows_have_cells() {
        let row = cells("| 1000 | 0.010 | 0.009 | 1.11 |").unwrap();
        assert_eq!(row, ["1000", "0.010", "0.009", "1.11"]);
        assert_eq!(number(&row, 3).unwrap(), 1.11);
        assert!(number(&row, 4).is_err());
        assert_eq!(cells("two threads, 5 numbers"), None);
    }
}
