//! Follows the folder: finds the versions to load and unload.

use super::super::lifecycle::State;
use super::super::source::ModelSource;
use super::Updater;
use super::model_state::{InService, ModelState};
use crate::config::ModelConfig;
use skysail_policy::versions::{Loaded, Step, Versions, steps};
use std::collections::BTreeSet;
use std::sync::Arc;

impl Updater {
    /// Scans the folder, and begins to load and unload versions of every model accordingly.
    pub(super) fn follow_folder(&mut self) {
        let scan = self.config.models.scan();
        for root in scan.unread.iter().filter(|root| !root.is_reported) {
            if !self.unread.contains(root) {
                tracing::error!("{}, so its models stay as they are", root.reason);
            }
        }
        self.unread.clone_from(&scan.unread);
        self.has_read_all |= scan.unread.is_empty();
        let lost = |(name, state): &(&String, &ModelState)| {
            scan.has_lost(name, state.goal.as_ref().map(|goal| goal.folder.as_path()))
        };
        let removed: Vec<String> =
            self.models.iter().filter(lost).map(|(name, _)| name.clone()).collect();
        // Readiness may be asked for at any moment: a model is not asked for once it is being
        // forgotten, nor before it has a status.
        self.shared.asked.write().retain(|name| !removed.contains(name));
        for name in removed {
            self.forget_model(&name);
        }
        let kept = self.models.iter().filter(|(_, state)| !state.is_gone).map(|(name, _)| name);
        let asked: BTreeSet<String> = kept.chain(scan.models.keys()).cloned().collect();
        let has_changed = |(name, source): &(String, ModelSource)| {
            self.models.get(name).and_then(|state| state.goal.as_deref()) != Some(source)
        };
        let changed: Vec<_> = scan.models.into_iter().filter(has_changed).collect();
        if !self.shared.is_started() {
            self.starting.extend(changed.iter().map(|(name, _)| name.clone()));
        }
        for (name, source) in changed {
            self.set_goal(&name, source);
            self.advance(&name);
        }
        *self.shared.asked.write() = asked;
    }

    /// Lets a model follow its folder as it is now. Statuses of its loads are set before those of
    /// an earlier state of the folder go.
    pub(super) fn set_goal(&mut self, name: &str, source: ModelSource) {
        source.warnings.iter().for_each(|warning| tracing::warn!("model '{name}': {warning}"));
        let goal = Arc::new(source);
        let state = self.models.entry(name.into()).or_default();
        (state.goal, state.is_gone) = (Some(Arc::clone(&goal)), false);
        let withdrawn = self.withdraw(name);
        match &goal.config {
            Ok(config) => self.follow_versions(name, &goal, config),
            Err(reason) if goal.is_coming => {
                self.set_status(name, 0, State::Loading, reason);
            }
            Err(error) => self.fail_model(name, error),
        }
        for version in withdrawn {
            self.clear_loading(name, version);
        }
    }

    fn follow_versions(&mut self, name: &str, goal: &ModelSource, config: &ModelConfig) {
        self.take_steps(name);
        self.reset_status(name, goal);
        if let Some(reason) = goal.nothing_to_serve(config) {
            self.fail_model(name, &reason);
        }
    }

    /// Drops statuses of a model that come from an earlier state of its folder.
    fn reset_status(&mut self, name: &str, goal: &ModelSource) {
        let Some(state) = self.models.get_mut(name) else { return };
        state.failed.retain(|version, _| goal.versions.contains_key(version));
        let mut status = self.shared.status.write();
        status.retain(|(model, version), status| {
            let is_over = status.state == State::Unavailable || *version == 0;
            model != name || !is_over || goal.versions.contains_key(version)
        });
        for loaded in self.loaded(name, goal).iter().filter(|loaded| loaded.current) {
            if let Some(status) = status.get_mut(&(name.to_owned(), loaded.version)) {
                status.reason.clear();
            }
        }
    }

    /// Next steps of a model, as the version policy decides.
    pub(super) fn steps(&self, name: &str, goal: &ModelSource) -> Vec<Step> {
        let (Some(state), Ok(config)) = (self.models.get(name), &goal.config) else {
            return Vec::new();
        };
        let failed = state.failed.iter();
        let failed = failed.filter(|(version, origin)| origin.matches(goal, **version));
        let versions = Versions {
            found: goal.versions.keys().copied().collect(),
            serving: self.loaded(name, goal),
            failed: failed.map(|(&version, _)| version).collect(),
        };
        steps(&config.versions, &versions)
    }

    /// Versions of a model that serve.
    fn loaded(&self, name: &str, goal: &ModelSource) -> Vec<Loaded> {
        let Some(state) = self.models.get(name) else { return Vec::new() };
        let loaded = |(&version, in_service): (&u64, &InService)| Loaded {
            version,
            current: in_service.origin.matches(goal, version),
        };
        state.serving.iter().map(loaded).collect()
    }

    /// Unloads and forgets a model whose folder is removed. Versions that are still being unloaded
    /// keep their status.
    pub(super) fn forget_model(&mut self, name: &str) {
        self.unload_all(name);
        let Some(state) = self.models.get_mut(name) else { return };
        (state.goal, state.is_gone) = (None, true);
        self.withdraw_loads(name);
        let mut status = self.shared.status.write();
        status.retain(|(model, _), status| model != name || status.state == State::Unloading);
        drop(status);
        if self.starting.remove(name) {
            self.end_start();
        }
        self.forget_gone(name);
    }

    /// Forgets a model without a folder once none of its loads runs.
    pub(super) fn forget_gone(&mut self, name: &str) {
        if self.models.get(name).is_some_and(|state| state.is_gone && state.is_idle()) {
            self.models.remove(name);
        }
    }
}
