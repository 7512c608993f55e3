//! Loads and unloads models by name, and answers when that is done.

use super::super::lifecycle::State;
use super::super::load_with::LoadWith;
use super::super::roots::NoSource;
use super::super::{RepositoryError, Status};
use super::model_state::{Done, NextLoad};
use super::{Event, Updater};
use std::thread::Builder;
use tokio::sync::oneshot;

impl Updater {
    /// Loads the models that the settings name for the start.
    pub(super) fn load_named(&mut self) {
        let names = self.config.load_at_start.clone();
        self.starting = names.iter().cloned().collect();
        self.shared.asked.write().extend(names.iter().cloned());
        self.has_read_all = true;
        for name in names {
            let (done, _) = oneshot::channel();
            self.load(&name, NextLoad { with: LoadWith::default(), done });
        }
    }

    /// Keeps the failure of a model that was named for the start and of which no version serves.
    pub(super) fn note_start(&mut self, name: &str, failure: Option<String>) {
        let is_named = self.config.load_at_start.iter().any(|named| named == name);
        let serves = self.models.get(name).is_some_and(|state| !state.serving.is_empty());
        if let Some(reason) = failure.filter(|_| is_named && !serves) {
            self.start_failures.push(RepositoryError::NotLoaded { model: name.into(), reason });
        }
    }

    /// Loads or reloads a model. A load of the same model that is not over goes first.
    pub(super) fn load(&mut self, name: &str, load: NextLoad) {
        let is_settled = self.is_settled(name);
        let state = self.models.entry(name.into()).or_default();
        if !is_settled {
            return state.next.push_back(load);
        }
        let is_elsewhere = load.with.files.is_none() && self.config.models.is_elsewhere(name);
        state.fetching = Some(load);
        if !is_elsewhere {
            return self.finish_fetch(name, Ok(()));
        }
        // Copying takes long, and other models do not wait for it.
        let (roots, events, model) =
            (self.config.models.clone(), self.events.clone(), name.to_owned());
        let fetch = move || {
            let result = roots.fetch(&model);
            // Without a receiver the repository is closing.
            drop(events.send(Event::Fetched { model, result }));
        };
        if let Err(error) = Builder::new().name("fetch".into()).spawn(fetch) {
            self.finish_fetch(name, Err(error.to_string()));
        }
    }

    /// Loads a model whose files are here now.
    pub(super) fn finish_fetch(&mut self, name: &str, result: Result<(), String>) {
        let Some(state) = self.models.get_mut(name) else { return };
        // It may have been unloaded meanwhile.
        let Some(NextLoad { with, done }) = state.fetching.take() else { return };
        let not_loaded = |reason| RepositoryError::NotLoaded { model: name.into(), reason };
        let source = result.map_err(not_loaded).and_then(|()| {
            self.config.models.scan_model(name, &with).map_err(|error| match error {
                NoSource::Unknown => RepositoryError::NoSuchModel(name.into()),
                NoSource::Unread(reason) => not_loaded(reason),
            })
        });
        let source = match source {
            Ok(source) => source,
            Err(error) => return self.refuse_load(name, error, done),
        };
        let nothing =
            source.config.as_ref().ok().and_then(|config| source.nothing_to_serve(config));
        if let Some(reason) = nothing.filter(|_| !state.serving.is_empty()) {
            return self.refuse_load(name, not_loaded(reason), done);
        }
        // A load by name tries failed versions again even if nothing changed.
        state.failed.clear();
        state.waiting.push(done);
        self.set_goal(name, source);
        self.advance(name);
    }

    /// Answers a load of a model that can not be read. What it serves goes on.
    fn refuse_load(&mut self, name: &str, error: RepositoryError, done: Done) {
        if self.starting.remove(name) {
            tracing::error!("{error}");
            self.start_failures.push(error.clone());
            self.end_start();
        }
        // The client may have left.
        drop(done.send(Err(error)));
        let Some(state) = self.models.get(name) else { return };
        if !state.next.is_empty() {
            self.settled.push_back(name.into());
        } else if state.goal.is_none() && state.loading.is_empty() && state.serving.is_empty() {
            self.models.remove(name);
        }
    }

    /// Begins the loads by name that waited for the one before them.
    pub(super) fn load_next(&mut self) {
        while let Some(name) = self.settled.pop_front() {
            let state = self.models.get_mut(&name);
            if let Some(next) = state.and_then(|state| state.next.pop_front()) {
                self.load(&name, next);
            }
        }
    }

    /// Takes all versions of a model out of service, also those that are being loaded.
    pub(super) fn unload(&mut self, name: &str, done: Done) {
        let Some(state) = self.models.get_mut(name) else {
            // A model that was never loaded counts as unloaded.
            let is_known = self.config.models.names().contains_key(name);
            let unknown = || RepositoryError::NoSuchModel(name.into());
            // The client may have left, here and below.
            return drop(done.send(is_known.then_some(()).ok_or_else(unknown)));
        };
        state.goal = None;
        let loading: Vec<u64> = state.loading.keys().copied().collect();
        let serving: Vec<u64> = state.serving.keys().copied().collect();
        let clients = state.take_clients();
        for client in clients {
            let reason = "it was unloaded before it was loaded".into();
            let model = name.into();
            drop(client.send(Err(RepositoryError::NotLoaded { model, reason })));
        }
        self.shared.asked.write().remove(name);
        self.withdraw_loads(name);
        for version in loading.into_iter().filter(|version| !serving.contains(version)) {
            self.set_status(name, version, State::Unavailable, Status::unloaded().reason);
        }
        self.unload_all(name);
        self.unloading.push((name.into(), done));
        if self.starting.remove(name) {
            self.end_start();
        }
    }
}
