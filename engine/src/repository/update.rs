//! The thread that keeps what serves in step with the folder.

use super::lifecycle::State;
use super::source::{self, ModelSource, VersionSource};
use super::{RepositoryError, Shared, Status};
use crate::config::{ControlMode, EngineConfig, ModelConfig};
use crate::endpoint::Endpoint;
use crate::load::LoadTarget;
use crate::load::loader::Loader;
use crate::replica::thread;
use skysail_policy::versions::{Loaded, Step, Versions, steps};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How often the thread looks whether what it retired is still in use.
const RETIRE_POLL: Duration = Duration::from_millis(20);

/// What the thread is told.
pub(super) enum Command {
    /// Load a model by name.
    Load {
        model: String,
        config: Option<String>,
        done: oneshot::Sender<Result<(), RepositoryError>>,
    },
    /// Unload a model by name.
    Unload { model: String, done: oneshot::Sender<Result<(), RepositoryError>> },
    /// Unload everything and end.
    Stop,
}

/// A version in memory, with its replicas' threads.
struct InService {
    endpoint: Arc<Endpoint>,
    threads: Vec<JoinHandle<()>>,
    origin: Origin,
}

/// What a version was loaded from.
#[derive(Clone, PartialEq)]
struct Origin {
    source: VersionSource,
    config: ModelConfig,
}

impl Origin {
    /// Whether loading the version now would start from the same.
    fn is(&self, source: &ModelSource, version: u64, config: &ModelConfig) -> bool {
        source.versions.get(&version) == Some(&self.source) && self.config == *config
    }
}

/// One model as the thread knows it.
#[derive(Default)]
struct Known {
    serving: BTreeMap<u64, InService>,
    /// What failed, so that it is not tried again before it changes.
    failed: BTreeMap<u64, Origin>,
    /// Its folder at the last look.
    seen: Option<ModelSource>,
}

impl Known {
    /// Whether the folder had the version at the last look.
    fn has(&self, version: u64) -> bool {
        self.seen.as_ref().is_none_or(|seen| seen.versions.contains_key(&version))
    }

    /// Whether the version serves or has failed as it is now.
    fn is_over(&self, source: &ModelSource, version: u64, config: &ModelConfig) -> bool {
        let serves = self.serving.get(&version).map(|in_service| &in_service.origin);
        let origins = serves.into_iter().chain(self.failed.get(&version));
        origins.into_iter().any(|origin| origin.is(source, version, config))
    }
}

pub(super) struct Updater {
    config: EngineConfig,
    loader: Loader,
    shared: Arc<Shared>,
    inbox: mpsc::Receiver<Command>,
    models: BTreeMap<String, Known>,
    retiring: Vec<InService>,
    /// When the folder is looked at again; never, unless it is polled.
    next_look: Option<Instant>,
}

impl Updater {
    pub(super) fn new(
        config: EngineConfig,
        loader: Loader,
        shared: Arc<Shared>,
        inbox: mpsc::Receiver<Command>,
    ) -> Self {
        let (models, retiring) = (BTreeMap::new(), Vec::new());
        Self { config, loader, shared, inbox, models, retiring, next_look: None }
    }

    pub(super) fn run(mut self) {
        match self.config.control {
            ControlMode::None => self.follow_folder(),
            ControlMode::Poll => self.look_again(),
            ControlMode::Explicit => {
                for name in self.config.load_at_start.clone() {
                    if self.shared.stopping.load(Ordering::Relaxed) {
                        break;
                    }
                    if let Err(error) = self.load(&name, None) {
                        tracing::error!("{error}");
                    }
                }
            }
        }
        self.shared.started.store(true, Ordering::Release);
        loop {
            match self.inbox.recv_timeout(self.pause()) {
                // Whoever asked may have gone in the meantime.
                Ok(Command::Load { model, config, done }) => {
                    drop(done.send(self.load(&model, config.as_deref())));
                }
                Ok(Command::Unload { model, done }) => drop(done.send(self.unload(&model))),
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    if self.next_look.is_some_and(|time| time <= Instant::now()) {
                        self.look_again();
                    }
                }
                Ok(Command::Stop) | Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
            self.free_retired();
        }
        self.stop();
    }

    fn pause(&self) -> Duration {
        let pause = match self.next_look {
            Some(time) => time.saturating_duration_since(Instant::now()),
            None => Duration::from_secs(3600),
        };
        if self.retiring.is_empty() { pause } else { pause.min(RETIRE_POLL) }
    }

    fn look_again(&mut self) {
        self.follow_folder();
        self.next_look = Some(Instant::now() + Duration::from_millis(self.config.poll_ms));
    }

    /// Brings every model in step with the folder as it is now.
    fn follow_folder(&mut self) {
        let found = match source::scan(&self.config.models) {
            Ok(found) => found,
            Err(error) => {
                let folder = self.config.models.display();
                tracing::error!("{folder} can not be read, so everything stays as it is: {error}");
                return;
            }
        };
        let gone: Vec<String> =
            self.models.keys().filter(|name| !found.contains_key(*name)).cloned().collect();
        for name in gone {
            self.take_out(&name);
            self.forget(&name);
        }
        found.iter().for_each(|(name, source)| self.look_ahead(name, source));
        for (name, source) in found {
            if self.shared.stopping.load(Ordering::Relaxed) {
                return;
            }
            let known = self.models.entry(name.clone()).or_default();
            if known.seen.as_ref() != Some(&source) {
                known.seen = Some(source.clone());
                self.follow_model(&name, &source);
                // Or all old versions would stay until the last new one is there.
                self.free_retired();
            }
        }
        self.loader.forget_early();
    }

    /// Lets versions of a model that are to be loaded be tried while others are loaded.
    fn look_ahead(&self, name: &str, source: &ModelSource) {
        let Ok(config) = &source.config else { return };
        let known = self.models.get(name);
        let found = source.versions.keys().copied().collect();
        for version in config.versions.wanted(&found) {
            let is_over = known.is_some_and(|known| known.is_over(source, version, config));
            if let (Some(of_version), false) = (source.versions.get(&version), is_over) {
                let (folder, source) = (&source.folder, of_version);
                self.loader.probe_early(&LoadTarget { name, version, folder, config, source });
            }
        }
    }

    /// Loads and unloads versions of one model until they are those that its settings want.
    fn follow_model(&mut self, name: &str, source: &ModelSource) {
        source.warnings.iter().for_each(|warning| tracing::warn!("model '{name}': {warning}"));
        let config = match &source.config {
            Ok(config) => config,
            Err(error) => return self.fail_model(name, error),
        };
        self.restate(name, source, config);
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

    /// Takes back what an earlier state of the folder made it say of a model.
    fn restate(&mut self, name: &str, source: &ModelSource, config: &ModelConfig) {
        if let Some(known) = self.models.get_mut(name) {
            known.failed.retain(|version, _| source.versions.contains_key(version));
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

    fn steps(
        &self,
        name: &str,
        source: &ModelSource,
        config: &ModelConfig,
        found: &BTreeSet<u64>,
    ) -> Vec<Step> {
        let Some(known) = self.models.get(name) else { return Vec::new() };
        let failed = known.failed.iter();
        let failed = failed.filter(|(version, origin)| origin.is(source, **version, config));
        let versions = Versions {
            found: found.clone(),
            serving: self.loaded(name, source, config),
            failed: failed.map(|(&version, _)| version).collect(),
        };
        steps(&config.versions, &versions)
    }

    /// The versions of a model that serve.
    fn loaded(&self, name: &str, source: &ModelSource, config: &ModelConfig) -> Vec<Loaded> {
        let Some(known) = self.models.get(name) else { return Vec::new() };
        let loaded = |(&version, in_service): (&u64, &InService)| Loaded {
            version,
            current: in_service.origin.is(source, version, config),
        };
        known.serving.iter().map(loaded).collect()
    }

    fn load_version(
        &mut self,
        name: &str,
        version: u64,
        source: &ModelSource,
        config: &ModelConfig,
    ) {
        let Some(version_source) = source.versions.get(&version) else { return };
        let origin = Origin { source: version_source.clone(), config: config.clone() };
        let serves =
            self.models.get(name).is_some_and(|known| known.serving.contains_key(&version));
        if !serves {
            self.set_status(name, version, Some((State::Loading, String::new())));
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
            Ok(in_service) => self.put_in(name, version, in_service),
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
                self.set_status(name, version, Some((state, reason)));
                self.models.entry(name.into()).or_default().failed.insert(version, origin);
            }
        }
    }

    fn put_in(&mut self, name: &str, version: u64, in_service: InService) {
        let known = self.models.entry(name.into()).or_default();
        known.failed.remove(&version);
        self.shared.serving.insert(Arc::clone(&in_service.endpoint));
        self.retiring.extend(known.serving.insert(version, in_service));
        self.set_status(name, version, Some((State::Ready, String::new())));
    }

    fn unload_version(&mut self, name: &str, version: u64) {
        self.shared.serving.remove(name, version);
        let known = self.models.entry(name.into()).or_default();
        if let Some(in_service) = known.serving.remove(&version) {
            self.retiring.push(in_service);
            self.set_status(name, version, Some((State::Unloading, String::new())));
        }
    }

    /// Says that nothing of a model can be told from its folder; what serves goes on.
    fn fail_model(&self, name: &str, reason: &str) {
        tracing::error!("model '{name}': {reason}");
        self.set_status(name, 0, Some((State::Unavailable, reason.into())));
    }

    fn load(&mut self, name: &str, config: Option<&str>) -> Result<(), RepositoryError> {
        let folder = self.folder(name)?;
        let source = source::scan_model(&folder, name, config);
        // Asked for by name, it is tried again even if nothing changed.
        self.models.entry(name.into()).or_default().failed.clear();
        self.follow_model(name, &source);
        match self.failure(name) {
            Some(reason) => Err(RepositoryError::NotLoaded { model: name.into(), reason }),
            None => Ok(()),
        }
    }

    /// What is wrong with a model, or with the first of its versions that failed.
    fn failure(&self, name: &str) -> Option<String> {
        let failed = self.models.get(name)?.failed.keys().copied();
        let status = self.shared.status.read();
        let reason = |version| status.get(&(name.to_owned(), version)).map(|s| s.reason.clone());
        std::iter::once(0).chain(failed).find_map(reason)
    }

    fn unload(&mut self, name: &str) -> Result<(), RepositoryError> {
        if !self.models.contains_key(name) {
            // Never loaded is as good as unloaded.
            return self.folder(name).map(drop);
        }
        self.take_out(name);
        Ok(())
    }

    fn folder(&self, name: &str) -> Result<PathBuf, RepositoryError> {
        let folder = self.config.models.join(name);
        let is_model = source::is_plain(name) && !name.starts_with('.') && folder.is_dir();
        match is_model {
            true => Ok(folder),
            false => Err(RepositoryError::NoSuchModel(name.into())),
        }
    }

    fn take_out(&mut self, name: &str) {
        let Some(known) = self.models.get(name) else { return };
        let versions: Vec<u64> = known.serving.keys().copied().collect();
        versions.into_iter().for_each(|version| self.unload_version(name, version));
    }

    /// Forgets a model whose folder is gone, but for versions still being unloaded.
    fn forget(&mut self, name: &str) {
        self.models.remove(name);
        let mut status = self.shared.status.write();
        status.retain(|(model, _), status| model != name || status.state == State::Unloading);
    }

    /// Frees retired versions that no request holds any more: here, never on a request's thread.
    fn free_retired(&mut self) {
        let in_use = |s: &mut InService| {
            let model = Arc::strong_count(s.endpoint.model());
            Arc::strong_count(&s.endpoint) > 1
                || model > 1 + s.threads.iter().filter(|thread| !thread.is_finished()).count()
        };
        let free = self.retiring.extract_if(.., |s| !in_use(s)).collect::<Vec<_>>();
        for in_service in free {
            self.end(in_service);
        }
    }

    fn end(&self, in_service: InService) {
        let _going = self.shared.loading.start();
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
            match self.models.get(&key.0).is_some_and(|known| known.has(version)) {
                true => status
                    .insert(key, Status { state: State::Unavailable, reason: "unloaded".into() }),
                false => status.remove(&key),
            };
        }
    }

    fn stop(mut self) {
        let names: Vec<String> = self.models.keys().cloned().collect();
        names.iter().for_each(|name| self.take_out(name));
        std::mem::take(&mut self.retiring).into_iter().for_each(|s| self.end(s));
    }

    fn set_status(&self, name: &str, version: u64, next: Option<(State, String)>) {
        let mut status = self.shared.status.write();
        let key = (name.to_owned(), version);
        let Some((state, reason)) = next else {
            status.remove(&key);
            return;
        };
        let before = status.get(&key).map_or(State::Unavailable, |status| status.state);
        let legal = before == state || before.may_become(state);
        debug_assert!(legal || version == 0, "{name} {version}: {before} became {state}");
        status.insert(key, Status { state, reason });
    }
}
