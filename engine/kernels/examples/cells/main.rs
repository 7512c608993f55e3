//! The kernels' speed, cell by cell, beside ONNX Runtime's own operators in the same run.
//!
//! `cargo run --release -p skysail-kernels --example cells [-- fc|conv|network]`

mod conv;
mod fc;
mod models;
mod network;

use anyhow::{Context, Result};
use ort::environment::Environment;
use ort::session::{Session, builder::SessionBuilder};
use skysail_kernels::{OperatorWeights, Probe, operators};
use std::path::PathBuf;

fn main() -> Result<()> {
    let environment = ort::init_from(library()?)?.with_name("cells").build()?;
    let wanted = std::env::args().nth(1);
    let wants = |name: &str| wanted.as_deref().is_none_or(|wanted| wanted == name);
    if wants("fc") {
        fc::print(&environment)?;
    }
    if wants("conv") {
        conv::print(&environment)?;
    }
    if wants("network") {
        network::print(&environment)?;
    }
    Ok(())
}

/// The library, from where `cargo xtask setup` puts it.
fn library() -> Result<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/onnxruntime/lib");
    let folder = std::env::var_os("SKYSAIL_ONNXRUNTIME").map_or(folder.into(), PathBuf::from);
    let entries = std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut libraries = files.filter(|path| path.to_string_lossy().contains("libonnxruntime.so"));
    libraries.next().context("run `cargo xtask setup`")
}

/// Sessions of one thread.
fn builder(environment: &Environment) -> ort::Result<SessionBuilder> {
    Ok(Session::builder(environment)?.with_intra_threads(1)?.with_inter_threads(1)?)
}

/// A probe of a model of ONNX Runtime's own operators.
fn dense(environment: &Environment, model: &[u8], shape: &[usize]) -> Result<Probe> {
    Ok(Probe::new(builder(environment)?, model, shape)?)
}

/// A probe of a model of ours.
fn sparse(
    environment: &Environment,
    weights: &OperatorWeights,
    model: &[u8],
    shape: &[usize],
) -> Result<Probe> {
    let domain = operators(weights)?;
    let with_domain = || -> ort::Result<_> { Ok(builder(environment)?.with_operators(domain)?) };
    let builder = with_domain()?;
    Ok(Probe::new(builder, model, shape)?)
}

/// The geometric mean.
fn mean(ratios: &[f64]) -> f64 {
    (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp()
}
