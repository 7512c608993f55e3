//! Follows the folder: finds the versions to load and unload.

use super::super::lifecycle::State;
use super::super::source::ModelSource;
use super::Updater;
use super::model_state::{InService, ModelState};
use crate::config::ModelConfig;
use crate::load::LoadTarget;
use skysail_policy::versions::{Loaded, Step, Versions, steps};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

impl Updater {
    /// Scans the folder, and loads and unloads versions of every model accordingly.
    pub(super) fn follow_folder(&mut self) {
        let scan = self.config.models.scan();
        for root in &scan.unread {
            tracing::error!("{}, so its models stay as they are", root.reason);
        }
        let lost = |(name, state): &(&String, &ModelState)| {
            let folder = state.last_scan.as_ref().map(|scan| scan.folder.as_path());
            scan.has_lost(name, folder)
        };
        let removed: Vec<String> =
            self.models.iter().filter(lost).map(|(name, _)| name.clone()).collect();
        let found = scan.models;
        for name in removed {
            self.unload_all(&name);
            self.forget_model(&name);
        }
        found.iter().for_each(|(name, source)| self.probe_early(name, source));
        for (name, source) in found {
            if self.shared.stopping.load(Ordering::Relaxed) {
                return;
            }
            let state = self.models.entry(name.clone()).or_default();
            if state.last_scan.as_ref() != Some(&source) {
                state.last_scan = Some(source.clone());
                self.follow_model(&name, &source);
                // Otherwise all old versions would stay until the last new one is loaded.
                self.free_retired();
            }
        }
        self.loader.forget_early();
    }

    /// Starts to probe versions of a model that are to be loaded, while others load.
    fn probe_early(&self, name: &str, source: &ModelSource) {
        let Ok(config) = &source.config else { return };
        let state = self.models.get(name);
        let found = source.versions.keys().copied().collect();
        for version in config.versions.wanted(&found) {
            let is_over = state.is_some_and(|state| state.is_settled(source, version, config));
            if let (Some(of_version), false) = (source.versions.get(&version), is_over) {
                let (folder, source) = (&source.folder, of_version);
                self.loader.probe_early(&LoadTarget { name, version, folder, config, source });
            }
        }
    }

    /// Loads and unloads versions of one model until they match its settings.
    pub(super) fn follow_model(&mut self, name: &str, source: &ModelSource) {
        source.warnings.iter().for_each(|warning| tracing::warn!("model '{name}': {warning}"));
        let config = match &source.config {
            Ok(config) => config,
            Err(error) => return self.fail_model(name, error),
        };
        self.reset_status(name, source, config);
        let found: BTreeSet<u64> = source.versions.keys().copied().collect();
        if config.versions.wanted(&found).is_empty() {
            let file = config.file_names().join(" or ");
            self.fail_model(name, &format!("no version is to serve: no VERSION/{file} that fits"));
        }
        loop {
            let steps = self.steps(name, source, config, &found);
            if steps.is_empty() {
                return;
            }
            for step in steps {
                if self.shared.stopping.load(Ordering::Relaxed) {
                    return;
                }
                match step {
                    Step::Load(version) => self.load_version(name, version, source, config),
                    Step::Unload(version) => self.unload_version(name, version),
                }
            }
        }
    }

    /// Drops statuses of a model that come from an earlier state of its folder.
    fn reset_status(&mut self, name: &str, source: &ModelSource, config: &ModelConfig) {
        if let Some(state) = self.models.get_mut(name) {
            state.failed.retain(|version, _| source.versions.contains_key(version));
        }
        let mut status = self.shared.status.write();
        status.retain(|(model, version), status| {
            let is_over = status.state == State::Unavailable;
            model != name || !is_over || source.versions.contains_key(version)
        });
        for loaded in self.loaded(name, source, config).iter().filter(|loaded| loaded.current) {
            if let Some(status) = status.get_mut(&(name.to_owned(), loaded.version)) {
                status.reason.clear();
            }
        }
    }

    /// Next steps of a model, as the version policy decides.
    fn steps(
        &self,
        name: &str,
        source: &ModelSource,
        config: &ModelConfig,
        found: &BTreeSet<u64>,
    ) -> Vec<Step> {
        let Some(state) = self.models.get(name) else { return Vec::new() };
        let failed = state.failed.iter();
        let failed = failed.filter(|(version, origin)| origin.matches(source, **version, config));
        let versions = Versions {
            found: found.clone(),
            serving: self.loaded(name, source, config),
            failed: failed.map(|(&version, _)| version).collect(),
        };
        steps(&config.versions, &versions)
    }

    /// Versions of a model that serve.
    fn loaded(&self, name: &str, source: &ModelSource, config: &ModelConfig) -> Vec<Loaded> {
        let Some(state) = self.models.get(name) else { return Vec::new() };
        let loaded = |(&version, in_service): (&u64, &InService)| Loaded {
            version,
            current: in_service.origin.matches(source, version, config),
        };
        state.serving.iter().map(loaded).collect()
    }
}
