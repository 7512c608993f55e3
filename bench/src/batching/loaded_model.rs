//! Models under test in this process: each setting of each model is loaded as a model of its own.

use super::bench_model::{self, BenchModel};
use super::drive::{Run, drive};
use super::measurement::Measurement;
use super::setting::{FixedSettings, Setting};
use crate::engine_under_test::TestEngine;
use anyhow::{Context, Result};
use skysail_engine::endpoint::Endpoint;
use skysail_engine::request::Request;
use skysail_loadtest::arrival::Window;
use skysail_policy::simulate::Arrivals;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

/// Latency objective of every model that can meet it, in milliseconds.
pub(super) const OBJECTIVE_MS: f64 = 20.0;

/// Loaded model, unloaded when dropped.
pub(super) struct LoadedModel<'a> {
    /// Dropped before `loaded`, as an unload waits until nobody holds the endpoint.
    endpoint: Arc<Endpoint>,
    loaded: Loaded<'a>,
    requests: Vec<Request>,
}

/// Unloads a model when dropped.
struct Loaded<'a> {
    engine: &'a TestEngine,
    name: String,
}

impl<'a> LoadedModel<'a> {
    /// Loads a model under a setting.
    pub(super) fn load(
        engine: &'a TestEngine,
        model: &BenchModel,
        setting: Setting,
        fixed: &FixedSettings,
    ) -> Result<Self> {
        let name = format!("{}-{}", model.name, setting.key());
        let folder = engine.install(&name, &model.file)?;
        fs::write(folder.join("model.toml"), setting.toml(fixed))?;
        let endpoint = engine.load(&name)?;
        let requests = bench_model::requests(&endpoint)?;
        Ok(Self { endpoint, loaded: Loaded { engine, name }, requests })
    }

    /// Sends requests until `end`.
    pub(super) fn send(&self, arrivals: &Arrivals, end: Duration, seed: u64) -> Result<Run> {
        let times = arrivals.times(seed).map(Duration::from_micros).take_while(|at| *at < end);
        drive(&self.endpoint, &self.requests, times).with_context(|| self.name().to_owned())
    }

    /// Sends a Poisson process of a rate, and measures the requests in the window.
    pub(super) fn measure(&self, per_s: f64, window: Window, seed: u64) -> Result<Measurement> {
        let run = self.send(&Arrivals::Poisson { per_s }, window.end(), seed)?;
        Ok(Measurement::from_run(&run, window, self.objective()))
    }

    /// Mean time of a run of one row, in microseconds.
    pub(super) fn row_us(&self) -> Result<f64> {
        /// Runs, one after another.
        const RUNS: usize = 20;
        for _ in 0..RUNS {
            drive(&self.endpoint, &self.requests, std::iter::once(Duration::ZERO))?;
        }
        let batches = self.endpoint.statistics().batches();
        let runs = batches.get(&1).context("no request ran alone")?;
        Ok(runs.infer_ns as f64 / 1e3 / runs.count as f64)
    }

    /// Number of replicas and the threads of each.
    pub(super) fn replicas(&self) -> (usize, usize) {
        (self.endpoint.model().replicas(), self.endpoint.model().threads())
    }

    /// Name of the model in the engine.
    pub(super) fn name(&self) -> &str {
        &self.loaded.name
    }

    /// Latency objective of the model.
    pub(super) fn objective(&self) -> Duration {
        Duration::from_micros(self.endpoint.objective_us().unwrap_or_default())
    }
}

impl Drop for Loaded<'_> {
    fn drop(&mut self) {
        // A failure leaves the model in memory.
        drop(self.engine.unload(&self.name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_completes_under_every_kind_of_setting() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("model.onnx");
        skysail_graph::mlp(&[8, 16, 4], 1).unwrap().save(&file).unwrap();
        let model = BenchModel { name: "mlp".into(), file };
        let engine = TestEngine::start(2, Some(OBJECTIVE_MS)).unwrap();
        let end = Duration::from_millis(50);
        let arrivals = Arrivals::Poisson { per_s: 2_000.0 };
        let requests = arrivals.times(7).take_while(|&at_us| at_us < 50_000).count();
        let kinds = [Setting::Predictive, Setting::Aimd, Setting::Quantile, Setting::Unbatched];
        for setting in kinds.into_iter().chain([Setting::USUAL]) {
            let objective = Some(Duration::from_secs(10));
            let fixed = FixedSettings { objective, ..FixedSettings::default() };
            let loaded = LoadedModel::load(&engine, &model, setting, &fixed).unwrap();
            assert_eq!(loaded.objective(), Duration::from_secs(10));
            let run = loaded.send(&arrivals, end, 7).unwrap();
            assert_eq!((run.completions.len(), run.send_delays.len()), (requests, requests));
            assert!(run.completions.iter().all(|c| c.outcome.is_answered()), "{setting}");
            assert!(run.idle < run.elapsed && run.elapsed >= run.completions[0].at);
        }
    }
}
