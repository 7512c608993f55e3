//! An engine in this process, and the models that live in it: each setting of each model is a
//! model of its own, loaded while it is asked.

use super::arrivals::{Arrivals, Traffic};
use super::drive::{Run, drive};
use super::seen::Seen;
use super::setting::{Given, Setting};
use super::subject::{self, Subject};
use anyhow::{Context, Result};
use skysail_engine::Engine;
use skysail_engine::config::{ControlMode, EngineConfig};
use skysail_engine::endpoint::Endpoint;
use skysail_engine::request::Request;
use skysail_loadtest::arrival::Window;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// The objective of every model that can keep it.
pub(super) const OBJECTIVE_MS: f64 = 20.0;

/// An engine with an objective and no other setting.
pub(super) struct House {
    engine: Engine,
    folder: TempDir,
}

impl House {
    pub(super) fn open() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let engine = Engine::start(EngineConfig {
            models: folder.path().to_owned(),
            control: ControlMode::Explicit,
            poll_ms: 1_000,
            load_at_start: Vec::new(),
            cores: std::thread::available_parallelism()?.get(),
            objective_ms: Some(OBJECTIVE_MS),
            probe: None,
        })?;
        Ok(Self { engine, folder })
    }

    /// Loads a model under a setting.
    pub(super) fn load(
        &self,
        subject: &Subject,
        setting: Setting,
        given: &Given,
    ) -> Result<Guest<'_>> {
        let name = format!("{}-{}", subject.name, setting.key());
        let folder = install(self.folder.path(), &name, &subject.file)?;
        fs::write(folder.join("model.toml"), setting.toml(given))?;
        self.load_again(&name)?;
        let model = self.engine.lookup(&name, None)?;
        let requests = subject::requests(&model)?;
        Ok(Guest { house: self, model, name, requests })
    }

    /// Loads what has been in the house before.
    pub(super) fn load_again(&self, name: &str) -> Result<()> {
        let loading = self.engine.repository().load(name, None);
        wait_for(loading)?.with_context(|| format!("{name} is not loaded"))
    }

    /// Ends what is in the house.
    pub(super) fn unload(&self, name: &str) -> Result<()> {
        let unloading = self.engine.repository().unload(name);
        wait_for(unloading)?.with_context(|| format!("{name} is not unloaded"))
    }
}

/// A loaded model, unloaded when dropped.
pub(super) struct Guest<'a> {
    house: &'a House,
    model: Arc<Endpoint>,
    name: String,
    requests: Vec<Request>,
}

impl Guest<'_> {
    /// Sends it requests until `end`.
    pub(super) fn ask(&self, traffic: Traffic, end: Duration, seed: u64) -> Result<Run> {
        let run = drive(&self.model, &self.requests, Arrivals::new(traffic, end, seed));
        run.with_context(|| self.name.clone())
    }

    /// Sends it so many requests a second, and counts what comes of those in the window.
    pub(super) fn measure(&self, per_s: f64, window: Window, seed: u64) -> Result<Seen> {
        let run = self.ask(Traffic::steady(per_s), window.end(), seed)?;
        Ok(Seen::of(&run, window, self.objective()))
    }

    /// How long a run of one row takes, in microseconds.
    pub(super) fn row_us(&self) -> Result<f64> {
        /// One after the other.
        const RUNS: usize = 20;
        for _ in 0..RUNS {
            drive(&self.model, &self.requests, std::iter::once(Duration::ZERO))?;
        }
        let batches = self.model.statistics().batches();
        let runs = batches.get(&1).context("no request ran alone")?;
        Ok(runs.infer_ns as f64 / 1e3 / runs.count as f64)
    }

    /// Its replicas and the threads of each.
    pub(super) fn replicas(&self) -> (usize, usize) {
        (self.model.model().replicas(), self.model.model().threads())
    }

    /// Its name in the house.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// How soon its answers should be there.
    pub(super) fn objective(&self) -> Duration {
        Duration::from_micros(self.model.objective_us().unwrap_or_default())
    }
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        // It takes memory at the worst.
        drop(self.house.unload(&self.name));
    }
}

/// Makes a file version 1 of a model; the model's folder.
pub(super) fn install(models: &Path, name: &str, file: &Path) -> Result<PathBuf> {
    let folder = models.join(name);
    let version = folder.join("1");
    fs::create_dir_all(&version)?;
    let target = version.join("model.onnx");
    if !target.exists() {
        std::os::unix::fs::symlink(file, target)?;
    }
    Ok(folder)
}

fn wait_for<T>(future: impl Future<Output = T>) -> Result<T> {
    Ok(tokio::runtime::Builder::new_current_thread().build()?.block_on(future))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_has_an_outcome_under_every_kind_of_setting() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("model.onnx");
        skysail_graph::mlp(&[8, 16, 4], 1).unwrap().save(&file).unwrap();
        let subject = Subject { name: "mlp".into(), file };
        let house = House::open().unwrap();
        let end = Duration::from_millis(50);
        let traffic = Traffic::steady(2_000.0);
        let requests = Arrivals::new(traffic, end, 7).count();
        let kinds = [Setting::Predictive, Setting::Aimd, Setting::Quantile, Setting::Unbatched];
        for setting in kinds.into_iter().chain([Setting::USUAL]) {
            let objective = Some(Duration::from_secs(10));
            let given = Given { objective, ..Given::default() };
            let guest = house.load(&subject, setting, &given).unwrap();
            assert_eq!(guest.objective(), Duration::from_secs(10));
            let run = guest.ask(traffic, end, 7).unwrap();
            assert_eq!((run.outcomes.len(), run.lags.len()), (requests, requests));
            assert!(run.outcomes.iter().all(|outcome| outcome.fate.is_answered()), "{setting}");
            assert!(run.idle < run.elapsed && run.elapsed >= run.outcomes[0].at);
        }
    }
}
