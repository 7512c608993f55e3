//! The lossy steps of `pack`, each of which changes the model.

use super::timing::{BatchTimes, is_faster, time_models};
use crate::check::{Checked, Explained, check};
use crate::data::DataSet;
use crate::options::{Init, Int8, Options, Ranges};
use crate::progress::Progress;
use crate::session::{OnnxRuntime, Threads};
use crate::table::percent;
use anyhow::Result;
use serde_json::{Map, Value, json};
use skysail_compression::{
    Batch, Calibration, ClusterSettings, DynamicSettings, HalfSettings, Int4Settings, Int8Weights,
    PerLayer, PruneRule, PruneSettings, PrunedLayer, QuantizeReport, SmoothSettings,
    StaticSettings, Step, cluster, prune, quantize_dynamic, quantize_int4, quantize_static,
    quantize_tables, smooth, store_half,
};
use skysail_graph::Model;
use std::collections::BTreeMap;

/// First version of ONNX's operators in which int8 tables can have a scale for each column.
const TABLES_OPSET: i64 = 13;

/// Inputs of compression.
pub(super) struct Compressor<'a> {
    pub(super) options: &'a Options,
    /// Typical inputs of the model.
    pub(super) typical: Option<&'a DataSet>,
    pub(super) progress: &'a Progress,
}

/// Results of the steps.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Steps on the whole model, for the manifest.
    pub(super) steps: Vec<Step>,
    /// Steps on each tensor, for the manifest.
    pub(super) tensors: BTreeMap<String, Vec<Step>>,
    /// Notes for the manifest.
    pub(super) notes: Vec<String>,
    /// A line for each step, for people: its name and its effect.
    pub(super) lines: Vec<(&'static str, String)>,
    /// Run times of int8 and float32.
    pub(super) int8_times: Vec<BatchTimes>,
    /// Differences of the outputs after each step.
    pub(super) checks: Vec<Checked>,
}

/// Returns the number of steps that `options` ask for.
pub(super) fn count(options: &Options) -> usize {
    let wanted = [
        prunes(options),
        shares(options),
        options.int8.is_some(),
        options.int8.is_some() && !options.force,
        options.int4,
        options.half.is_some(),
        options.data.is_some(),
    ];
    wanted.into_iter().filter(|wanted| *wanted).count()
}

fn prunes(options: &Options) -> bool {
    let named = !options.prune_layer.is_empty();
    options.prune.is_some() || options.threshold.is_some() || named
}

fn shares(options: &Options) -> bool {
    options.bits.is_some() || !options.bits_layer.is_empty()
}

impl Compressor<'_> {
    /// Applies the steps in the paper's order; quantization comes last.
    pub(super) fn compress(&self, original: &Model, model: &mut Model) -> Result<Outcome> {
        let (options, mut done) = (self.options, Outcome::default());
        if prunes(options) {
            self.progress.step("pruning");
            self.prune(model, &mut done)?;
        }
        if shares(options) {
            self.progress.step("sharing weights");
            self.share(model, &mut done)?;
        }
        if prunes(options) || shares(options) {
            // Any loss was asked for, but outputs must stay finite.
            let explained = Explained { method: "pruning", share: f64::INFINITY };
            self.check([original, model], explained, &mut done)?;
        }
        if let Some(how) = options.int8 {
            self.progress.step("quantizing to int8");
            self.int8(model, how, &mut done)?;
        }
        if options.int4 {
            self.progress.step("quantizing to int4");
            let before = model.clone();
            let report = quantize_int4(model, &Int4Settings::default())?;
            let explained = Explained::by("int4", &report.tensors, &before, true);
            self.check([&before, model], explained, &mut done)?;
            done.quantized("int4", &report, json!({ "bits": 4, "block": 32 }));
        }
        if let Some(half) = options.half {
            self.progress.step("storing halves");
            let format = half.format();
            let before = model.clone();
            let report = store_half(model, &HalfSettings::all(format))?;
            let explained = Explained::by("half precision", &report.tensors, &before, false);
            self.check([&before, model], explained, &mut done)?;
            done.quantized("half", &report, json!({ "bits": 16, "format": format!("{half:?}") }));
        }
        Ok(done)
    }

    /// Compares the outputs before and after a step.
    fn check(&self, models: [&Model; 2], explained: Explained, done: &mut Outcome) -> Result<()> {
        match check(models, self.typical, explained) {
            Ok(Ok(checked)) => done.checks.push(checked),
            Ok(Err(reason)) => done.notes.push(format!("outputs were not compared: {reason}")),
            Err(error) if self.options.accept_difference => {
                done.notes.push(format!("accepted: {error}"));
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn prune(&self, model: &mut Model, done: &mut Outcome) -> Result<()> {
        let options = self.options;
        let rule = options.threshold.map(PruneRule::Threshold);
        let mut apart = PerLayer { convolution: rule, fully_connected: rule, ..PerLayer::none() };
        let mut floors = PerLayer::all(0.0);
        for named in &options.prune_layer {
            apart = apart.with(&named.layer, Some(PruneRule::Density(named.value.0)));
            floors = floors.with(&named.layer, None);
        }
        let mut pruned = prune(model, &PruneSettings::PerLayer(apart))?.layers;
        if let Some(density) = options.prune {
            let together = PruneSettings::Global { density: density.0, floors };
            pruned.extend(prune(model, &together)?.layers);
        }
        for PrunedLayer { name, weights, kept, .. } in &pruned {
            let density = *kept as f64 / (*weights).max(1) as f64;
            done.tensor(name, "prune", json!({ "density": rounded(density) }));
        }
        let weights: usize = pruned.iter().map(|layer| layer.weights).sum();
        let kept: usize = pruned.iter().map(|layer| layer.kept).sum();
        let density = kept as f64 / weights.max(1) as f64;
        let (layers, share) = (pruned.len(), percent(density));
        done.line("prune", format!("{share} of the weights of {layers} layers stay"));
        done.step("prune", json!({ "density": rounded(density) }));
        Ok(())
    }

    fn share(&self, model: &mut Model, done: &mut Outcome) -> Result<()> {
        let options = self.options;
        let init = options.init.unwrap_or(Init::Linear);
        let mut bits = PerLayer {
            convolution: options.bits,
            fully_connected: options.bits,
            ..PerLayer::none()
        };
        for named in &options.bits_layer {
            bits = bits.with(&named.layer, Some(named.value));
        }
        let report = cluster(model, &ClusterSettings { bits, init: init.cluster_init() })?;
        for layer in &report.layers {
            let settings = json!({ "bits": layer.bits, "values": layer.centroids });
            done.tensor(&layer.name, "cluster", settings);
        }
        let (layers, init) = (report.layers.len(), format!("{init:?}").to_lowercase());
        let values: usize = report.layers.iter().map(|layer| layer.centroids).sum();
        done.line("cluster", format!("{layers} layers share {values} values, {init} start"));
        done.step("cluster", json!({ "bits": options.bits, "init": init }));
        Ok(())
    }

    fn int8(&self, model: &mut Model, how: Int8, done: &mut Outcome) -> Result<()> {
        let options = self.options;
        let batches: &[Batch] = self.typical.map_or(&[], |data| &data.batches);
        let mut runtime = OnnxRuntime(Threads::All);
        let mut calibration = Calibration { runner: &mut runtime, batches };
        let mut int8 = model.clone();
        if options.smooths() {
            smooth(&mut int8, SmoothSettings::default(), &mut calibration)?;
        }
        let report = match how {
            Int8::Static => {
                let range = options.range_rule.unwrap_or(Ranges::MinMax).rule();
                let settings = StaticSettings { range, ..StaticSettings::default() };
                quantize_static(&mut int8, &settings, &mut calibration)?
            }
            Int8::Dynamic => {
                let mut report = quantize_dynamic(&mut int8, &DynamicSettings::default())?;
                if int8.opset("").is_some_and(|version| version >= TABLES_OPSET) {
                    let tables = quantize_tables(&mut int8, Int8Weights::default())?;
                    report.tensors.extend(tables.tensors);
                }
                report
            }
        };
        let how = format!("{how:?}").to_lowercase();
        if !options.force {
            self.progress.step("measuring int8 against float32");
            for batch in batches.iter().take(1) {
                done.int8_times = time_models(model, &int8, batch)?;
            }
            if !is_faster(&done.int8_times) {
                let times: Vec<String> = done.int8_times.iter().map(BatchTimes::describe).collect();
                let message = format!("float32 kept, as {how} int8 was no faster");
                done.notes.push(format!("{message}: {}", times.join("; ")));
                done.line("int8", message);
                return Ok(());
            }
        }
        let explained = Explained::by("int8", &report.tensors, model, true);
        self.check([model, &int8], explained, done)?;
        let ranges = options.range_rule.map(|ranges| format!("{ranges:?}").to_lowercase());
        let settings = json!({ "bits": 8, "how": how, "ranges": ranges, "smooth": options.smooths().then_some(true) });
        done.quantized("int8", &report, settings);
        *model = int8;
        Ok(())
    }
}

impl Outcome {
    fn line(&mut self, what: &'static str, how: String) {
        self.lines.push((what, how));
    }

    fn step(&mut self, what: &str, settings: Value) {
        self.steps.push(step(what, settings));
    }

    fn tensor(&mut self, name: &str, what: &str, settings: Value) {
        self.tensors.entry(name.to_owned()).or_default().push(step(what, settings));
    }

    fn quantized(&mut self, what: &'static str, report: &QuantizeReport, settings: Value) {
        for tensor in &report.tensors {
            let settings = json!({ "bits": tensor.bits, "of": tensor.name, "scales": tensor.scales, "codes": tensor.codes });
            self.tensor(&tensor.stored, "quantize", settings);
        }
        for kept in &report.kept {
            self.notes.push(format!("{what}: '{}' stayed as it was: {}", kept.name, kept.reason));
        }
        let tensors = report.tensors.len();
        let count = if tensors == 1 { "1 tensor".to_owned() } else { format!("{tensors} tensors") };
        self.line(
            what,
            match report.kept.len() {
                0 => count,
                kept => format!("{count}; {kept} stayed as they were, see the notes"),
            },
        );
        self.step("quantize", settings);
    }
}

fn step(what: &str, settings: Value) -> Step {
    let settings = match settings {
        Value::Object(settings) => settings.into_iter().filter(|(_, value)| !value.is_null()),
        _ => return Step { what: what.to_owned(), ..Step::default() },
    };
    Step { what: what.to_owned(), settings: settings.collect::<Map<_, _>>(), ..Step::default() }
}

/// Rounds to four digits: every digit in a manifest takes a byte.
fn rounded(share: f64) -> f64 {
    (share * 1e4).round() / 1e4
}
