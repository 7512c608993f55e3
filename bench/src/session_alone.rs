//! `skysail-bench session-alone`: one session of ONNX Runtime in a process of its own, so that its
//! memory can be told from that of others. `serve` runs it.

use crate::limit::BoundSession;
use crate::load::wait;
use crate::process::resident_mb;
use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Measure one session of ONNX Runtime
#[derive(Args)]
pub(crate) struct Flags {
    /// ONNX file of an MLP
    file: PathBuf,
    /// Width of its input
    width: usize,
    /// MLP that is opened before, so that what all sessions share is not counted
    first: PathBuf,
    /// Width of its input
    first_width: usize,
    /// Milliseconds until its memory is read
    rest_ms: u64,
}

/// Costs of a session.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct SessionCost {
    /// Time to create it.
    pub(crate) create_ms: f64,
    /// Resident memory after one run and a rest, beyond that before, in MB.
    pub(crate) resident_mb: f64,
}

/// Measures in this process, and prints the costs as JSON.
#[expect(clippy::print_stdout, reason = "the parent process reads it")]
pub(crate) fn run(flags: &Flags) -> Result<()> {
    let threads = std::thread::available_parallelism()?.get();
    let environment = skysail_engine::runtime::load(threads)?;
    let open = |file, width| BoundSession::open(&environment, file, &[width], threads, 1);
    let mut first = open(&flags.first, flags.first_width)?;
    first.run()?;
    let before_mb = resident_mb(std::process::id())?;
    let started = Instant::now();
    let mut session = open(&flags.file, flags.width)?;
    let create_ms = started.elapsed().as_secs_f64() * 1e3;
    session.run()?;
    wait(Duration::from_millis(flags.rest_ms))?;
    let resident_mb = resident_mb(std::process::id())? - before_mb;
    println!("{}", serde_json::to_string(&SessionCost { create_ms, resident_mb })?);
    Ok(())
}

/// Measures a session of an MLP, given with its width, in a process of its own.
pub(crate) fn measure(
    mlp: (&Path, u64),
    first: (&Path, u64),
    rest: Duration,
) -> Result<SessionCost> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("session-alone");
    for (file, width) in [mlp, first] {
        command.arg(file).arg(width.to_string());
    }
    let output = command.arg(rest.as_millis().to_string()).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("a session alone prints no costs")
}
