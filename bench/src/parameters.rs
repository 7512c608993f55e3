//! `skysail-bench parameters`: the cost of custom parameters. One server gets JSON requests with and
//! without them, in turn.

use crate::alternation::{alternate, ratio};
use crate::engine_under_test::{SMALL_MLP, install_mlp};
use crate::load::{ClosedLoop, row};
use crate::process::Server;
use crate::targets::{self, Target};
use anyhow::{Result, ensure};
use clap::Args;
use serde_json::{Value, json};
use skysail_loadtest::payload::Source;
use skysail_loadtest::target::Protocol;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

/// Model of the benchmark, and its load.
const NAME: &str = "small";
const CONNECTIONS: usize = 64;

/// Greatest time of a request with parameters, as a multiple of one without.
const TIME_MAX: f64 = 1.05;

/// Measure the cost of custom parameters
#[derive(Args)]
pub(crate) struct Flags {
    /// Seconds of each measurement
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Measurements of each kind of request, in turn
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Executable of the server
    #[arg(long, default_value = "target/release/skysail-server")]
    server: PathBuf,
}

/// Runs the benchmark and prints its tables.
pub(crate) fn run(flags: &Flags) -> Result<()> {
    ensure!(flags.server.is_file(), "{} is not built", flags.server.display());
    let folder = tempfile::tempdir()?;
    let models = folder.path().join("models");
    install_mlp(&models, NAME, SMALL_MLP)?;
    let server = Server::start_with(&flags.server, &models, &[])?;
    server.first_answer(NAME)?;
    let load = ClosedLoop {
        models: &[NAME],
        protocol: Protocol::Json,
        connections: CONNECTIONS,
        duration: Duration::from_secs(flags.seconds),
    };
    let plain: Value = serde_json::from_slice(&load.payload(&row(), &server.http)?.to_json()?)?;
    let sources = [("plain", plain.clone()), ("parameters", with_parameters(plain))];
    let sources = sources.map(|(name, request)| (folder.path().join(name), request));
    for (file, request) in &sources {
        std::fs::write(file, request.to_string())?;
    }
    let sources = sources.map(|(file, _)| Source::File(file));
    let [without, with] = alternate(flags.rounds, sources, |source| {
        Ok(load.run_with(source, load.generator(), &server.http)?.requests_per_s)
    })?;
    let mut out = io::stdout().lock();
    writeln!(out, "| round | without req/s | with req/s | time with/without |")?;
    writeln!(out, "|---:|---:|---:|---:|")?;
    for (round, (without, with)) in without.iter().zip(&with).enumerate() {
        let ratio = without / with;
        writeln!(out, "| {} | {without:.0} | {with:.0} | {ratio:.3} |", round + 1)?;
    }
    writeln!(out)?;
    let what = "small MLP, JSON, 64 connections: time with parameters / without, median";
    targets::print(&mut out, &[(what, ratio(&without, &with), Target::AtMost(TIME_MAX))])?;
    Ok(())
}

/// The request as clients with parameters of their own send it.
fn with_parameters(mut request: Value) -> Value {
    request["parameters"] = json!({"tenant": "blue", "trace": true, "weight": 3});
    request["inputs"][0]["parameters"] = json!({"content_type": "np"});
    request
}
