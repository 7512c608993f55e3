//! Whole models, served by the engine on one thread. The package, whose layers run as calibration
//! chose while loading, is compared with the ONNX file of the same weights.

use super::inputs::{self, InputKind};
use super::{Bench, Figure, least};
use crate::engine_under_test::TestEngine;
use crate::load::block_on;
use crate::targets::Target;
use anyhow::{Context, Result, ensure};
use skysail_compression::Package;
use skysail_engine::endpoint::Endpoint;
use skysail_engine::request::Request;
use skysail_loadtest::quantiles::median;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Rows of a request, each of which is a batch.
const BATCHES: [usize; 3] = [1, 4, 8];

/// Greatest difference of a float kernel's result from the dense one, over all layers of a model.
const ERROR_MAX: f32 = 1e-4;

const RESNET: InputKind = InputKind::Images("input", [3, 32, 32]);
const SQUEEZENET: InputKind = InputKind::Images("data", [3, 227, 227]);

/// Model with its packing flags.
struct Case {
    model: &'static str,
    input: InputKind,
    what: &'static str,
    flags: &'static [&'static str],
    /// Model that the package is compared with.
    peer: Peer,
}

/// Dense peer of a package.
#[derive(Clone, Copy, PartialEq)]
enum Peer {
    /// ONNX file of the same weights.
    SameWeights,
    /// Original model in float32, on the inputs that gave the ranges.
    Original,
}

const CASES: [Case; 4] = [
    Case {
        model: "squeezenet1.0",
        input: SQUEEZENET,
        what: "as it is",
        flags: &[],
        peer: Peer::SameWeights,
    },
    Case {
        model: "resnet20-cifar10",
        input: RESNET,
        what: "pruned",
        flags: &["--prune", "34%"],
        peer: Peer::SameWeights,
    },
    Case {
        model: "resnet20-cifar10",
        input: RESNET,
        what: "int8",
        flags: &["--int8", "static"],
        peer: Peer::Original,
    },
    Case {
        model: "all-minilm-l6-v2",
        input: InputKind::Tokens,
        what: "int8",
        flags: &["--int8", "dynamic"],
        peer: Peer::Original,
    },
];

/// Prints the table.
pub(super) fn table(out: &mut impl Write, bench: &Bench) -> Result<Vec<Figure>> {
    writeln!(
        out,
        "\n## Whole models, one thread\n\n\
         | model | weights | density | layers | batch | ONNX us | package us | ratio |\n\
         |---|---|---:|---|---:|---:|---:|---:|"
    )?;
    let engine = TestEngine::start(1, None)?;
    let mut figures = Vec::new();
    for case in &CASES {
        match inputs::model(bench, case.model) {
            Some(model) => figures.push(case.measure(out, bench, &engine, &model)?),
            None => writeln!(out, "| {} | not at hand | | | | | | |", case.model)?,
        }
    }
    Ok(figures)
}

impl Case {
    fn measure(
        &self,
        out: &mut impl Write,
        bench: &Bench,
        engine: &TestEngine,
        model: &Path,
    ) -> Result<Figure> {
        let name = format!("{}-{}", self.model, self.what.replace(' ', "-"));
        let mut flags: Vec<String> = self.flags.iter().map(|&flag| flag.into()).collect();
        if self.peer == Peer::Original {
            let calibration = self.input.calibration(bench)?;
            flags.extend(["--calibrate".into(), calibration.to_string_lossy().into_owned()]);
        }
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let package = bench.packer.pack(&name, model, &flags)?;
        let peer = match self.peer {
            Peer::SameWeights => bench.packer.unpack(&package)?,
            Peer::Original => model.to_owned(),
        };
        let sky = load(engine, &name, &package)?;
        let onnx = load(engine, &format!("{name}-onnx"), &peer)?;
        let layers = sky.model().layers().context("a package reports its layers")?.to_string();
        let layers = layers.split(", weights").next().unwrap_or_default();
        let described = Package::from_bytes(fs::read(&package)?)?;
        let density = 100.0 * density(&described);
        let mut ratios = Vec::new();
        for rows in BATCHES {
            let request = self.input.request(rows);
            if self.peer == Peer::SameWeights {
                same(&ask(&sky, &request)?.1, &ask(&onnx, &request)?.1)?;
            }
            let [onnx, sky] = alternate([&onnx, &sky], &request, bench)?;
            let ratio = onnx / sky;
            writeln!(
                out,
                "| {} | {} | {density:.0} % | {layers} | {rows} | {onnx:.0} | {sky:.0} | \
                 {ratio:.2} |",
                self.model, self.what
            )?;
            ratios.push(ratio);
        }
        let is_kept = described.manifest().notes.iter().any(|note| note.contains("float32 kept"));
        let kept = if is_kept { ": float32 kept, as its package notes" } else { "" };
        let what = format!("{}, {}, the worst batch{kept}", self.model, self.what);
        Ok((what, least(&ratios), Target::AtLeast(if is_kept { 0.95 } else { 1.0 })))
    }
}

/// Installs and loads a file as a model.
fn load(engine: &TestEngine, name: &str, file: &Path) -> Result<Arc<Endpoint>> {
    engine.install(name, file)?;
    engine.load(name)
}

/// Run time of a request in microseconds, and its first output.
fn ask(model: &Arc<Endpoint>, request: &Request) -> Result<(f64, Vec<f32>)> {
    let response = block_on(model.submit(request.clone())?)??;
    let run = response.stages.executed - response.stages.gathered;
    let (values, _) = response.outputs[0].data.as_chunks();
    let values = values.iter().copied().map(f32::from_le_bytes).collect();
    Ok((run.as_secs_f64() * 1e6, values))
}

/// Median times of two models in alternating runs.
fn alternate(models: [&Arc<Endpoint>; 2], request: &Request, bench: &Bench) -> Result<[f64; 2]> {
    let mut times = [Vec::new(), Vec::new()];
    let started = Instant::now();
    while times[1].len() < 11 || started.elapsed() < bench.time {
        for (model, times) in models.iter().zip(&mut times) {
            times.push(ask(model, request)?.0);
        }
    }
    Ok(times.map(|times| median(&times)))
}

/// Checks that two outputs are equal except for rounding.
fn same(a: &[f32], b: &[f32]) -> Result<()> {
    let largest = b.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let apart = a.iter().zip(b).fold(0.0_f32, |apart, (a, b)| apart.max((a - b).abs()));
    ensure!(a.len() == b.len() && apart <= ERROR_MAX * largest, "outputs are {apart} apart");
    Ok(())
}

/// Share of nonzero values in large tensors.
fn density(package: &Package) -> f64 {
    let large = package.tensors().iter().filter(|entry| entry.shape.len() > 1);
    let (kept, count) = large.fold((0, 0), |(k, c), entry| (k + entry.kept, c + entry.count));
    kept as f64 / count as f64
}
