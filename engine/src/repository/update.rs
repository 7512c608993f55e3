//! The thread that loads and unloads versions, as the folder changes or on command.

use super::lifecycle::State;
use super::load_with::LoadWith;
use super::roots::NoSource;
use super::source::ModelSource;
use super::{RepositoryError, Shared, Status};
use crate::config::{ControlMode, EngineConfig, ModelConfig};
use crate::endpoint::Endpoint;
use crate::load::LoadTarget;
use crate::load::loader::Loader;
use crate::replica::thread;
use model_state::{InService, ModelState, Origin};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

mod follow;
mod model_state;

/// Period at which the thread checks if retired versions are still in use.
const RETIRE_POLL: Duration = Duration::from_millis(20);

/// Command to the thread.
pub(super) enum Command {
    /// Load a model by name.
    Load { model: String, with: LoadWith, done: oneshot::Sender<Result<(), RepositoryError>> },
    /// Unload a model by name.
    Unload { model: String, done: oneshot::Sender<Result<(), RepositoryError>> },
    /// Unload everything and end.
    Stop,
}

/// State of the thread.
pub(super) struct Updater {
    config: EngineConfig,
    loader: Loader,
    shared: Arc<Shared>,
    inbox: mpsc::Receiver<Command>,
    models: BTreeMap<String, ModelState>,
    retiring: Vec<InService>,
    /// Time of the next scan of the folder; `None` unless it is polled.
    next_scan: Option<Instant>,
}

impl Updater {
    pub(super) fn new(
        config: EngineConfig,
        loader: Loader,
        shared: Arc<Shared>,
        inbox: mpsc::Receiver<Command>,
    ) -> Self {
        let (models, retiring) = (BTreeMap::new(), Vec::new());
        Self { config, loader, shared, inbox, models, retiring, next_scan: None }
    }

    pub(super) fn run(mut self) {
        match self.config.control {
            ControlMode::None => self.follow_folder(),
            ControlMode::Poll => self.scan_again(),
            ControlMode::Explicit => {
                for name in self.config.load_at_start.clone() {
                    if self.shared.stopping.load(Ordering::Relaxed) {
                        break;
                    }
                    if let Err(error) = self.load(&name, &LoadWith::default()) {
                        tracing::error!("{error}");
                    }
                }
            }
        }
        self.shared.started.store(true, Ordering::Release);
        loop {
            match self.inbox.recv_timeout(self.pause()) {
                // The client that asked may have left in the meantime.
                Ok(Command::Load { model, with, done }) => {
                    drop(done.send(self.load(&model, &with)));
                }
                Ok(Command::Unload { model, done }) => drop(done.send(self.unload(&model))),
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    if self.next_scan.is_some_and(|time| time <= Instant::now()) {
                        self.scan_again();
                    }
                }
                Ok(Command::Stop) | Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
            self.free_retired();
        }
        self.stop();
    }

    fn pause(&self) -> Duration {
        let pause = match self.next_scan {
            Some(time) => time.saturating_duration_since(Instant::now()),
            None => Duration::from_secs(3600),
        };
        if self.retiring.is_empty() { pause } else { pause.min(RETIRE_POLL) }
    }

    fn scan_again(&mut self) {
        self.follow_folder();
        self.next_scan = Some(Instant::now() + Duration::from_millis(self.config.poll_ms));
    }

    fn load_version(
        &mut self,
        name: &str,
        version: u64,
        source: &ModelSource,
        config: &ModelConfig,
    ) {
        let Some(version_source) = source.versions.get(&version) else { return };
        let mut origin = Origin { source: version_source.clone(), config: config.clone() };
        let serves =
            self.models.get(name).is_some_and(|state| state.serving.contains_key(&version));
        if !serves {
            self.set_status(name, version, State::Loading, String::new());
        }
        let target =
            LoadTarget { name, version, folder: &source.folder, config, source: version_source };
        let running = self.shared.loading.start();
        let loaded = self.loader.load(&target).and_then(|model| {
            let threads = thread::spawn_threads(&model, &self.loader.spawner);
            let threads = threads.map_err(|error| format!("no thread for it: {error}"))?;
            let endpoint = Arc::new(Endpoint::new(model).map_err(|error| error.to_string())?);
            Ok(InService { endpoint, threads, origin: origin.clone() })
        });
        drop(running);
        match loaded {
            Ok(in_service) => self.put_in_service(name, version, in_service),
            Err(reason) => {
                let path = version_source.folder.display();
                tracing::error!(
                    "model '{name}' version {version} ({path}) is not loaded: {reason}"
                );
                let state = if serves { State::Ready } else { State::Unavailable };
                let reason = match serves {
                    true => format!("serves from older files; the new ones failed: {reason}"),
                    false => reason,
                };
                self.set_status(name, version, state, reason);
                // Sent files that do not serve are removed.
                origin.source.sent = None;
                self.models.entry(name.into()).or_default().failed.insert(version, origin);
            }
        }
    }

    fn put_in_service(&mut self, name: &str, version: u64, in_service: InService) {
        let state = self.models.entry(name.into()).or_default();
        state.failed.remove(&version);
        self.shared.serving.insert(Arc::clone(&in_service.endpoint));
        self.retiring.extend(state.serving.insert(version, in_service));
        self.set_status(name, version, State::Ready, String::new());
    }

    fn unload_version(&mut self, name: &str, version: u64) {
        self.shared.serving.remove(name, version);
        let state = self.models.entry(name.into()).or_default();
        if let Some(in_service) = state.serving.remove(&version) {
            self.retiring.push(in_service);
            self.set_status(name, version, State::Unloading, String::new());
        }
    }

    /// Reports that a model's folder can not be used. Versions that serve go on.
    fn fail_model(&self, name: &str, reason: &str) {
        tracing::error!("model '{name}': {reason}");
        self.set_status(name, 0, State::Unavailable, reason.into());
    }

    fn load(&mut self, name: &str, with: &LoadWith) -> Result<(), RepositoryError> {
        let roots = &self.config.models;
        let not_loaded = |reason| RepositoryError::NotLoaded { model: name.into(), reason };
        if with.files.is_none() {
            roots.fetch(name).map_err(not_loaded)?;
        }
        let source = roots.scan_model(name, with).map_err(|error| match error {
            NoSource::Unknown => RepositoryError::NoSuchModel(name.into()),
            NoSource::Unread(reason) => not_loaded(reason),
        })?;
        // A load by name tries failed versions again even if nothing changed.
        self.models.entry(name.into()).or_default().failed.clear();
        self.follow_model(name, &source);
        match self.failure(name) {
            Some(reason) => Err(RepositoryError::NotLoaded { model: name.into(), reason }),
            None => Ok(()),
        }
    }

    /// Reason why a model, or the first of its failed versions, is not loaded.
    fn failure(&self, name: &str) -> Option<String> {
        let failed = self.models.get(name)?.failed.keys().copied();
        let status = self.shared.status.read();
        let reason = |version| status.get(&(name.to_owned(), version)).map(|s| s.reason.clone());
        std::iter::once(0).chain(failed).find_map(reason)
    }

    fn unload(&mut self, name: &str) -> Result<(), RepositoryError> {
        // A model that was never loaded counts as unloaded.
        if !self.models.contains_key(name) && !self.config.models.names().contains_key(name) {
            return Err(RepositoryError::NoSuchModel(name.into()));
        }
        self.unload_all(name);
        Ok(())
    }

    fn unload_all(&mut self, name: &str) {
        let Some(state) = self.models.get(name) else { return };
        let versions: Vec<u64> = state.serving.keys().copied().collect();
        versions.into_iter().for_each(|version| self.unload_version(name, version));
    }

    /// Forgets a model whose folder is removed, except versions that are still being unloaded.
    fn forget_model(&mut self, name: &str) {
        self.models.remove(name);
        let mut status = self.shared.status.write();
        status.retain(|(model, _), status| model != name || status.state == State::Unloading);
    }

    /// Frees retired versions that no request holds any more. So that never happens on a request's
    /// thread.
    fn free_retired(&mut self) {
        let in_use = |s: &mut InService| {
            let model = Arc::strong_count(s.endpoint.model());
            Arc::strong_count(&s.endpoint) > 1
                || model > 1 + s.threads.iter().filter(|thread| !thread.is_finished()).count()
        };
        let free = self.retiring.extract_if(.., |s| !in_use(s)).collect::<Vec<_>>();
        for in_service in free {
            self.free(in_service);
        }
    }

    fn free(&self, in_service: InService) {
        let _running = self.shared.loading.start();
        let InService { endpoint, threads, .. } = in_service;
        let model = endpoint.model();
        model.queue().close();
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a replica's thread of model '{}' had panicked", model.name());
            }
        }
        let (name, version) = (model.name(), model.version());
        tracing::info!("model '{name}' version {version} is unloaded");
        let mut status = self.shared.status.write();
        let key = (name.to_string(), version);
        if status.get(&key).is_some_and(|status| status.state == State::Unloading) {
            match self.models.get(&key.0).is_some_and(|state| state.is_on_disk(version)) {
                true => status
                    .insert(key, Status { state: State::Unavailable, reason: "unloaded".into() }),
                false => status.remove(&key),
            };
        }
    }

    fn stop(mut self) {
        let names: Vec<String> = self.models.keys().cloned().collect();
        names.iter().for_each(|name| self.unload_all(name));
        std::mem::take(&mut self.retiring).into_iter().for_each(|s| self.free(s));
    }

    fn set_status(&self, name: &str, version: u64, state: State, reason: String) {
        let mut status = self.shared.status.write();
        let key = (name.to_owned(), version);
        let before = status.get(&key).map_or(State::Unavailable, |status| status.state);
        let legal = before == state || before.may_become(state);
        debug_assert!(legal || version == 0, "{name} {version}: {before} became {state}");
        status.insert(key, Status { state, reason });
    }
}
