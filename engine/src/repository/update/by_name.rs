//! Loads and unloads models by name, and answers when that is done.

use super::super::lifecycle::State;
use super::super::load_with::LoadWith;
use super::super::roots::NoSource;
use super::super::{RepositoryError, Status};
use super::model_state::{Done, Fetching, ModelState, NextLoad};
use super::{Event, Updater};
use crate::config::ControlMode;
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
            // Loads whose clients have left are replaced by this one.
            state.next.retain(|next| !next.done.is_closed());
            return state.next.push_back(load);
        }
        if load.with.files.is_some() || !self.config.models.is_elsewhere(name) {
            return self.finish_fetch(name, load, Ok(()));
        }
        let has_begun = !self.fetches.contains(name);
        state.fetching = Some(Fetching { load, has_begun });
        // Files that are being copied for a load that was given up may be older ones.
        if has_begun {
            self.begin_fetch(name);
        }
    }

    /// Copies the files of a model. That takes long, and other models do not wait for it.
    fn begin_fetch(&mut self, name: &str) {
        self.fetches.insert(name.into());
        let (roots, events, model) =
            (self.config.models.clone(), self.events.clone(), name.to_owned());
        let fetch = move || {
            let result = roots.fetch(&model);
            // Without a receiver the repository is closing.
            drop(events.send(Event::Fetched { model, result }));
        };
        if let Err(error) = Builder::new().name("fetch".into()).spawn(fetch) {
            self.end_fetch(name, Err(error.to_string()));
        }
    }

    /// Takes the end of a copying. The load that it was for may have been given up, and another come.
    pub(super) fn end_fetch(&mut self, name: &str, result: Result<(), String>) {
        self.fetches.remove(name);
        let Some(state) = self.models.get_mut(name) else { return };
        match state.fetching.take() {
            Some(Fetching { load, has_begun: true }) => self.finish_fetch(name, load, result),
            Some(Fetching { load, .. }) => {
                state.fetching = Some(Fetching { load, has_begun: true });
                self.begin_fetch(name);
            }
            None => {}
        }
    }

    /// Loads a model whose files are here now.
    fn finish_fetch(&mut self, name: &str, load: NextLoad, result: Result<(), String>) {
        let NextLoad { with, done } = load;
        let not_loaded = |reason: String| {
            let (model, reason) = (name.into(), self.places.hide(&reason));
            RepositoryError::NotLoaded { model, reason }
        };
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
        let state = self.models.entry(name.into()).or_default();
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

    /// Forgets a model of sent files that failed to load, unless it serves or a root has it.
    pub(super) fn forget_failed(&mut self, name: &str) {
        let is_over = |state: &ModelState| state.serving.is_empty() && state.is_idle();
        let is_explicit = self.config.control == ControlMode::Explicit;
        if is_explicit
            && self.models.get(name).is_some_and(is_over)
            && !self.config.models.has(name)
        {
            self.forget_model(name);
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
            let is_known = self.config.models.has(name);
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
        if !self.config.models.has(name) {
            // Clients can send files under ever new names.
            self.forget_model(name);
            return self.unloading.push((name.into(), done));
        }
        self.withdraw_loads(name);
        for version in loading.into_iter().filter(|version| !serving.contains(version)) {
            self.set_status(name, version, State::Unavailable, &Status::unloaded().reason);
        }
        self.unload_all(name);
        self.unloading.push((name.into(), done));
        if self.starting.remove(name) {
            self.end_start();
        }
    }
}
