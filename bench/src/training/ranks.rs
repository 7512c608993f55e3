//! Ranks that are processes under `mpirun`: their sums beside MPI's own, and what a second one is
//! worth. The trainer's examples measure; what they print in rows is gathered here.

use super::Figure;
use crate::targets::Target;
use anyhow::{Context, Result, anyhow, ensure};
use skysail_loadtest::quantiles::median;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::Command;

/// How much longer than MPI's own a sum may take, where it has at least so many numbers: of fewer,
/// there is little but the roll call, which MPI's own has not, and which takes a microsecond.
const SUM_RATIO_MAX: f64 = 1.2;
const SUM_LEN_MIN: f64 = 10_000.0;
/// How many times as much two ranks are to learn in a second as one.
const SCALING_MIN: f64 = 1.8;
/// What is printed where MPI is not at hand.
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
            let what = format!("sum of {} numbers over MPI's own", row[0]);
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
                "| model | 1 rank rows/s | 2 ranks rows/s | times | 2 apart rows/s | times |"
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

/// What so many ranks learn in a second.
fn rate(programs: &Path, ranks: usize, args: &[&str]) -> Result<Option<f64>> {
    let Some(rows) = rows(programs, "scaling", ranks, args)? else { return Ok(None) };
    number(rows.first().context("no row")?, 3).map(Some)
}

/// What two jobs learn together that run at the same time and know nothing of each other: what
/// two ranks would if they never had to wait.
fn at_once(job: impl Fn() -> Result<Option<f64>> + Sync) -> Result<Option<f64>> {
    let (here, there) = std::thread::scope(|scope| {
        let there = scope.spawn(&job);
        (job(), there.join())
    });
    let there = there.map_err(|_| anyhow!("a job panicked"))??;
    Ok(here?.zip(there).map(|(here, there)| here + there))
}

/// What an example prints in rows on so many ranks of a thread each; nothing where there is no
/// MPI, or where the example was built without.
fn rows(
    programs: &Path,
    example: &str,
    ranks: usize,
    args: &[&str],
) -> Result<Option<Vec<Vec<String>>>> {
    // Built only with MPI, so it tells about the other too.
    if !programs.join("examples/scaling").is_file() {
        return Ok(None);
    }
    let mut command = Command::new("mpirun");
    command.args(["--allow-run-as-root", "--oversubscribe", "-n", &ranks.to_string()]);
    // Or two jobs would have the first core both.
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

/// The cells of a row.
fn cells(line: &str) -> Option<Vec<String>> {
    let inside = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(inside.split('|').map(|cell| cell.trim().to_owned()).collect())
}

/// The number in a cell.
fn number(row: &[String], cell: usize) -> Result<f64> {
    let text = row.get(cell).with_context(|| format!("no cell {cell} in {row:?}"))?;
    text.parse().with_context(|| format!("'{text}' is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_cells_and_other_lines_have_none() {
        let row = cells("| 1000 | 0.010 | 0.009 | 1.11 |").unwrap();
        assert_eq!(row, ["1000", "0.010", "0.009", "1.11"]);
        assert_eq!(number(&row, 3).unwrap(), 1.11);
        assert!(number(&row, 4).is_err());
        assert_eq!(cells("two threads, 5 numbers"), None);
    }
}
