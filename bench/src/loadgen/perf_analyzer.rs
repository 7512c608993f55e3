//! Triton's `perf_analyzer`, from its Python package.

use crate::load::{ClosedLoop, LoadResult};
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Package, and the one with a library that the program needs even for its help.
const PACKAGES: [&str; 2] = ["tritonclient==2.51.0", "nvidia-cuda-runtime-cu12"];
/// Time limits of the set-up, and of a run beyond its measurement, in seconds.
const SETUP_S: u64 = 300;
const RUN_S: u64 = 60;

/// Program, with the folder of its library.
pub(super) struct PerfAnalyzer {
    program: PathBuf,
    libraries: PathBuf,
}

impl PerfAnalyzer {
    /// Finds the program in a Python environment, which is created if needed.
    pub(super) fn find(venv: &Path) -> Result<Self> {
        let program = venv.join("bin/perf_analyzer");
        if !program.is_file() {
            bounded(SETUP_S, Command::new("python3").args(["-m", "venv"]).arg(venv))?;
            bounded(
                SETUP_S,
                Command::new(venv.join("bin/pip")).args(["install", "-q"]).args(PACKAGES),
            )?;
        }
        let found = std::fs::read_dir(venv.join("lib"))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .map(|python| python.join("site-packages/nvidia/cuda_runtime/lib"))
            .find(|libraries| libraries.is_dir());
        let libraries = found.context("its library libcudart is missing")?;
        let found = Self { program, libraries };
        // On Debian it also wants the package libb64-0d.
        bounded(10, found.command().arg("--version"))?;
        Ok(found)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env("LD_LIBRARY_PATH", &self.libraries);
        command
    }

    /// Sends the load to a model with one input of this many floats.
    ///
    /// # Errors
    /// Fails if the program does not end in time, or its output is invalid.
    pub(super) fn run(
        &self,
        closed: &ClosedLoop<'_>,
        address: &str,
        width: u64,
    ) -> Result<LoadResult> {
        let folder = tempfile::tempdir()?;
        let table = folder.path().join("table.csv");
        let connections = closed.connections.to_string();
        let mut command = self.command();
        command
            .args(["-i", "http", "-m", closed.models.first().context("no model")?, "-u", address])
            .arg(format!("--shape=input:1,{width}"))
            .arg(format!("--concurrency-range={connections}"))
            // The program wants three windows that agree; the alternation replaces that.
            .arg(format!("--measurement-interval={}", closed.duration.as_millis() / 3))
            .args(["--max-trials=4", "--stability-percentage=999", "-f"])
            .arg(&table);
        let output = bounded(closed.duration.as_secs() + RUN_S, &mut command);
        let text = std::fs::read_to_string(&table);
        match (text, output) {
            (Ok(text), _) => read(&text, closed).with_context(|| format!("it says: {text}")),
            (Err(_), Err(error)) => Err(error),
            (Err(_), Ok(output)) => bail!("it says: {}", said(&output)),
        }
    }
}

/// Runs a program with a time limit, by `timeout`.
fn bounded(seconds: u64, command: &mut Command) -> Result<Output> {
    let mut whole = Command::new("timeout");
    whole.arg(seconds.to_string()).arg(command.get_program()).args(command.get_args());
    whole.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = whole.output().context("cannot start `timeout`")?;
    let name = command.get_program().to_string_lossy().into_owned();
    ensure!(output.status.success(), "{name}: {}", said(&output));
    Ok(output)
}

/// Last lines of a program's output.
fn said(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(3)..].join("; ")
}

/// Parses the table that the program writes.
fn read(text: &str, closed: &ClosedLoop<'_>) -> Option<LoadResult> {
    let mut lines = text.lines().filter(|line| line.contains(','));
    let (names, row) = (lines.next()?, lines.next()?);
    let cell = |name: &str| -> Option<f64> {
        let place = names.split(',').position(|each| each.trim() == name)?;
        row.split(',').nth(place)?.trim().parse().ok()
    };
    let requests_per_s = cell("Inferences/Second")?;
    Some(LoadResult {
        answered: requests_per_s * closed.duration.as_secs_f64(),
        requests_per_s,
        p50_us: cell("p50 latency")?,
        p99_us: cell("p99 latency")?,
        slowest_connection_share: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use skysail_loadtest::target::Protocol;
    use std::time::Duration;

    #[test]
    fn the_table_is_parsed() {
        let closed = ClosedLoop {
            models: &["m"],
            protocol: Protocol::Binary,
            connections: 4,
            duration: Duration::from_secs(2),
        };
        let text = "Concurrency,Inferences/Second,Client Send,p50 latency,p90 latency,p99 latency\n\
                    4,1500.5,3,2600,2700,3100\n";
        let seen = read(text, &closed).unwrap();
        assert_eq!((seen.answered, seen.p50_us, seen.p99_us), (3001.0, 2600.0, 3100.0));
        assert!(read("", &closed).is_none());
    }
}
