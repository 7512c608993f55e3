//! The thread that updates the repository, as the folder changes or on command. It decides what is
//! loaded and unloaded, and never loads itself: threads of the pool do, and report here.

use super::lifecycle::State;
use super::load_pool::{LoadJob, LoadPool, Loaded};
use super::load_with::LoadWith;
use super::places::Places;
use super::roots::Unread;
use super::source::ModelSource;
use super::{RepositoryError, Shared, Status};
use crate::config::{ControlMode, EngineConfig};
use crate::load::loader::Loader;
use heap::HeapTrimmer;
pub(super) use model_state::{Done, InService, Origin};
use model_state::{ModelState, NextLoad};
use skysail_policy::versions::Step;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

mod by_name;
mod follow;
mod heap;
mod model_state;
mod retire;

/// Period at which the thread checks if retired versions are still in use.
const RETIRE_POLL: Duration = Duration::from_millis(20);

/// An event that the thread handles.
pub(super) enum Event {
    /// Load a model by name.
    Load { model: String, with: LoadWith, done: Done },
    /// Unload a model by name.
    Unload { model: String, done: Done },
    /// The files of a model to be loaded by name are copied, or why not.
    Fetched { model: String, result: Result<(), String> },
    /// A load has ended.
    Loaded(Box<Loaded>),
    /// Give all loads up, and answer whoever waits for one. What serves goes on, without waits for
    /// fuller batches.
    BeginToStop,
    /// Refuse the requests that wait.
    RefuseAll,
    /// Unload everything and end.
    Stop,
}

/// State of the thread.
pub(super) struct Updater {
    config: EngineConfig,
    places: Places,
    shared: Arc<Shared>,
    pool: LoadPool,
    /// Sends events to this thread.
    events: mpsc::Sender<Event>,
    inbox: mpsc::Receiver<Event>,
    models: BTreeMap<String, ModelState>,
    /// Models whose files are being copied by a thread of their own.
    fetches: BTreeSet<String>,
    retiring: Vec<InService>,
    /// Clients that wait until a model's versions are freed.
    unloading: Vec<(String, Done)>,
    /// Models that have reached their goal, and have further loads by name to begin.
    settled: VecDeque<String>,
    /// Models of the start that are not loaded yet, nor failed.
    starting: BTreeSet<String>,
    /// Failures of the start, of models that were named for it.
    start_failures: Vec<RepositoryError>,
    heap: HeapTrimmer,
    /// Places that could not be read at the last scan.
    unread: Vec<Unread>,
    /// True once no place that models come from was unread.
    has_read_all: bool,
    /// True once all loads are given up.
    is_stopping: bool,
    /// Time of the next scan of the folder; `None` unless there is one.
    next_scan: Option<Instant>,
}

impl Updater {
    pub(super) fn new(
        config: EngineConfig,
        loader: Arc<Loader>,
        shared: Arc<Shared>,
        (events, inbox): (mpsc::Sender<Event>, mpsc::Receiver<Event>),
    ) -> Self {
        let pool = LoadPool::new(loader, Arc::clone(&shared), events.clone());
        Self {
            places: Places::new(&config),
            config,
            shared,
            pool,
            events,
            inbox,
            models: BTreeMap::new(),
            fetches: BTreeSet::new(),
            retiring: Vec::new(),
            unloading: Vec::new(),
            settled: VecDeque::new(),
            starting: BTreeSet::new(),
            start_failures: Vec::new(),
            heap: HeapTrimmer::default(),
            unread: Vec::new(),
            has_read_all: false,
            is_stopping: false,
            next_scan: None,
        }
    }

    /// Runs until it is told to stop. `is_read` is called once all versions of the start are known.
    pub(super) fn run(mut self, is_read: impl FnOnce()) {
        self.begin();
        is_read();
        self.end_start();
        loop {
            match self.inbox.recv_timeout(self.pause()) {
                // Their clients are told when the sender is dropped.
                Ok(Event::Load { .. } | Event::Unload { .. } | Event::Fetched { .. })
                    if self.is_stopping => {}
                Ok(Event::BeginToStop) => self.begin_to_stop(),
                Ok(Event::RefuseAll) => self.refuse_all(),
                Ok(Event::Load { model, with, done }) => self.load(&model, NextLoad { with, done }),
                Ok(Event::Fetched { model, result }) => self.end_fetch(&model, result),
                Ok(Event::Unload { model, done }) => self.unload(&model, done),
                Ok(Event::Loaded(loaded)) => self.finish_load(*loaded),
                Ok(Event::Stop) | Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
            if self.next_scan.is_some_and(|time| time <= Instant::now()) {
                self.scan_again();
            }
            self.load_next();
            self.pool.keep_going();
            self.free_retired();
            self.heap.trim_if_due();
        }
        self.stop();
    }

    fn begin(&mut self) {
        match self.config.control {
            ControlMode::None | ControlMode::Poll => self.scan_again(),
            ControlMode::Explicit => self.load_named(),
        }
        self.shared.is_read.store(true, Ordering::Release);
    }

    /// Reports the end of the start, once nothing of it is loading any more.
    fn end_start(&mut self) {
        if self.starting.is_empty() && self.has_read_all {
            let failures = std::mem::take(&mut self.start_failures);
            self.shared.start.send_if_modified(|start| {
                let is_first = start.is_none();
                start.get_or_insert(failures);
                is_first
            });
        }
    }

    fn pause(&self) -> Duration {
        let pause = match self.next_scan {
            Some(time) => time.saturating_duration_since(Instant::now()),
            None => Duration::from_secs(3600),
        };
        let pause = self.pool.pause().map_or(pause, |of_pool| pause.min(of_pool));
        let pause = self.heap.pause().map_or(pause, |of_heap| pause.min(of_heap));
        if self.retiring.is_empty() { pause } else { pause.min(RETIRE_POLL) }
    }

    fn scan_again(&mut self) {
        self.follow_folder();
        // Without polling, scans end when every place has been read.
        let goes_on = self.config.control == ControlMode::Poll || !self.has_read_all;
        let next = Instant::now() + Duration::from_millis(self.config.poll_ms);
        self.next_scan = goes_on.then_some(next);
        self.end_start();
    }

    /// Takes the steps of a model that can be taken now. When none is left, its clients are answered.
    fn advance(&mut self, name: &str) {
        self.take_steps(name);
        if self.is_settled(name) {
            self.settle(name);
        }
    }

    /// Begins the loads of a model that can begin now, and unloads what is to go.
    fn take_steps(&mut self, name: &str) {
        while let Some(goal) = self.models.get(name).and_then(|state| state.goal.clone()) {
            let mut has_unloaded = false;
            for step in self.steps(name, &goal) {
                match step {
                    Step::Load(version) => self.begin_load(name, version, &goal),
                    Step::Unload(version) => {
                        self.unload_version(name, version);
                        has_unloaded = true;
                    }
                }
            }
            if !has_unloaded {
                break;
            }
        }
    }

    /// True if no version of a model is still to be loaded.
    fn is_settled(&self, name: &str) -> bool {
        let Some(state) = self.models.get(name) else { return true };
        let steps = state.goal.as_ref().map(|goal| self.steps(name, goal)).unwrap_or_default();
        state.fetching.is_none() && !steps.iter().any(|step| matches!(step, Step::Load(_)))
    }

    /// Hands a version to the threads that load, unless they have it.
    fn begin_load(&mut self, name: &str, version: u64, goal: &ModelSource) {
        let Some(origin) = Origin::of(goal, version) else { return };
        let state = self.models.entry(name.into()).or_default();
        let has_it = state.loading.contains_key(&version);
        if !state.serving.contains_key(&version) {
            self.set_status(name, version, State::Loading, "");
        }
        // Files that have changed meanwhile are loaded when the load of the old ones has ended.
        if !has_it {
            let state = self.models.entry(name.into()).or_default();
            state.loading.insert(version, origin.clone());
            let (name, folder) = (name.to_owned(), goal.folder.clone());
            self.pool.push(LoadJob { name, version, folder, origin });
        }
    }

    /// Takes the result of a load, if it is still wanted.
    fn finish_load(&mut self, loaded: Loaded) {
        self.heap.note_change();
        let Loaded { name, version, origin, result } = loaded;
        let Some(state) = self.models.get_mut(&name).filter(|_| !self.is_stopping) else {
            return self.retiring.extend(result);
        };
        // The files of a copy that was replaced meanwhile may be gone, and those of the new one be fine.
        let is_wanted = state.loads(version)
            && (result.is_ok() || state.lies_in(version, &origin.source.folder));
        state.loading.remove(&version);
        match result {
            Ok(in_service) if is_wanted => self.put_in_service(&name, version, in_service),
            Err(reason) if is_wanted => self.fail_version(&name, version, origin, reason),
            result => {
                tracing::info!(
                    "model '{name}' version {version}: what was loaded is dropped, as it is not \
                     wanted any more"
                );
                self.retiring.extend(result);
            }
        }
        self.advance(&name);
        self.clear_loading(&name, version);
        self.forget_gone(&name);
    }

    fn put_in_service(&mut self, name: &str, version: u64, in_service: InService) {
        let state = self.models.entry(name.into()).or_default();
        state.failed.remove(&version);
        self.shared.serving.insert(Arc::clone(&in_service.endpoint));
        if let Some(replaced) = state.serving.insert(version, in_service) {
            self.retire(replaced);
        }
        self.set_status(name, version, State::Ready, "");
    }

    fn fail_version(&mut self, name: &str, version: u64, mut origin: Origin, reason: String) {
        let path = origin.source.folder.display();
        tracing::error!("model '{name}' version {version} ({path}) is not loaded: {reason}");
        // Sent files that do not serve are removed.
        origin.source.sent = None;
        let state = self.models.entry(name.into()).or_default();
        state.failed.insert(version, origin);
        // A version that serves in its place begins to load before it counts as broken.
        self.take_steps(name);
        let state = self.models.entry(name.into()).or_default();
        let (state, reason) = match state.serving.contains_key(&version) {
            true => {
                let reason = format!("serves from older files; the new ones failed: {reason}");
                (State::Ready, reason)
            }
            false => (State::Unavailable, reason),
        };
        self.set_status(name, version, state, &reason);
    }

    /// Reports that a model's folder can not be used. Versions that serve go on.
    fn fail_model(&self, name: &str, reason: &str) {
        tracing::error!("model '{name}': {reason}");
        self.set_status(name, 0, State::Unavailable, reason);
    }

    /// Answers the clients of a model that has reached its goal.
    fn settle(&mut self, name: &str) {
        let failure = self.failure(name);
        if self.starting.remove(name) {
            self.note_start(name, failure.clone());
            self.end_start();
        }
        let Some(state) = self.models.get_mut(name) else { return };
        // A model that was loaded by name is to serve from now on.
        if !state.serving.is_empty() && self.config.control == ControlMode::Explicit {
            self.shared.asked.write().insert(name.into());
        }
        // Sent files live on with the versions that serve from them.
        if let Some(goal) = &mut state.goal {
            Arc::make_mut(goal).versions.values_mut().for_each(|version| version.sent = None);
        }
        for done in std::mem::take(&mut state.waiting) {
            let result = failure.clone().map_or(Ok(()), |reason| {
                Err(RepositoryError::NotLoaded { model: name.into(), reason })
            });
            // The client may have left.
            drop(done.send(result));
        }
        if !state.next.is_empty() {
            self.settled.push_back(name.into());
        }
        self.forget_failed(name);
    }

    /// Reason why a model, or the first of its failed versions, is not loaded.
    fn failure(&self, name: &str) -> Option<String> {
        let failed = self.models.get(name)?.failed.keys().copied();
        let status = self.shared.status.read();
        let reason = |version| status.get(&(name.to_owned(), version)).map(|s| s.reason.clone());
        std::iter::once(0).chain(failed).find_map(reason)
    }

    /// Sets the status of a version, whose reason clients read.
    fn set_status(&self, name: &str, version: u64, state: State, reason: &str) {
        let reason = self.places.hide(reason);
        let mut status = self.shared.status.write();
        let key = (name.to_owned(), version);
        let before = status.get(&key).map_or(State::Unavailable, |status| status.state);
        let legal = before == state || before.may_become(state);
        debug_assert!(legal || version == 0, "{name} {version}: {before} became {state}");
        let status_now = Status { state, reason };
        match state {
            State::Ready => drop(self.shared.broken.write().remove(name)),
            State::Unavailable if status_now != Status::unloaded() => {
                self.shared.broken.write().insert(name.to_owned());
            }
            _ => {}
        }
        status.insert(key, status_now);
    }

    /// Ends the status LOADING of a version that is not loaded any more.
    fn clear_loading(&self, name: &str, version: u64) {
        let Some(state) = self.models.get(name) else { return };
        if state.loading.contains_key(&version) || state.serving.contains_key(&version) {
            return;
        }
        let mut status = self.shared.status.write();
        let key = (name.to_owned(), version);
        if status.get(&key).is_some_and(|status| status.state == State::Loading) {
            match state.is_on_disk(version) {
                true => drop(status.insert(key, Status::unloaded())),
                false => drop(status.remove(&key)),
            }
        }
    }
}
