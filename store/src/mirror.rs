//! Keeps the copy of a place current, on a thread of its own.

use crate::cache::{Cache, Held};
use crate::copies::{Copies, Files};
use crate::download::{Failure, Progress, download};
use crate::listing::{Listing, Object, list};
use crate::place::Place;
use futures_util::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until};

#[cfg(test)]
mod tests;

/// Files of a model that are downloaded at the same time.
const FILES_AT_ONCE: usize = 4;

/// Pause before another look, when something changed while it was copied or the first look failed.
const SOON: Duration = Duration::from_secs(1);

/// Attempts to copy a model that changes meanwhile, when it is asked for by name.
const ATTEMPTS_MAX: usize = 3;

/// Models that are copied, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// All, and again whenever they change; with the time between two looks.
    Changes(Duration),
    /// All, once.
    Once,
    /// Each when it is asked for.
    ByName,
}

/// State of a copy as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Copied {
    /// It is as the place was when it was last looked at.
    All,
    /// It has never been complete, for this reason.
    NotYet(String),
    /// It is as the place was some time ago, for this reason.
    Before(String),
}

/// The copy of a place. Dropping it ends its thread; the copy stays for the next run.
pub struct Mirror {
    worker: Arc<Worker>,
    requests: Option<UnboundedSender<Request>>,
    thread: Option<JoinHandle<()>>,
}

/// A request for the newest state of a model.
struct Request {
    model: String,
    done: mpsc::Sender<Result<(), String>>,
}

struct Worker {
    place: Place,
    /// Name of the model that the place is; `None` for a repository.
    model: Option<String>,
    cache: Arc<Cache>,
    copies: Copies,
    follow: Follow,
    state: Mutex<State>,
    progress: Progress,
    /// Locks of the models that are being copied.
    busy: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    is_away: AtomicBool,
    /// Tells that a look has found the store away.
    went_away: Notify,
}

struct State {
    models: BTreeMap<String, Option<String>>,
    copied: Copied,
}

impl Mirror {
    /// Starts to copy a place: a repository, or the model of this name.
    ///
    /// # Errors
    /// The folders can not be made, or the thread not be started.
    pub fn start(
        place: Place,
        model: Option<String>,
        cache: Arc<Cache>,
        follow: Follow,
    ) -> std::io::Result<Self> {
        let copies = Copies::open(Arc::clone(&cache), place.label(), model.as_deref())?;
        let copied = Copied::NotYet("it was not looked at yet".into());
        let models = model.iter().map(|name| (name.clone(), None)).collect();
        let worker = Arc::new(Worker {
            place,
            model,
            cache,
            copies,
            follow,
            state: Mutex::new(State { models, copied }),
            progress: Progress::default(),
            busy: Mutex::default(),
            is_away: AtomicBool::new(false),
            went_away: Notify::new(),
        });
        let (requests, inbox) = unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let run = Arc::clone(&worker);
        let thread = std::thread::Builder::new().name("store".into()).spawn(move || {
            runtime.block_on(run.run(inbox));
            // A look-up of a host's name may take long, and nobody needs it now.
            runtime.shutdown_background();
        })?;
        Ok(Self { worker, requests: Some(requests), thread: Some(thread) })
    }

    /// The place's URL.
    pub fn label(&self) -> &str {
        self.worker.place.label()
    }

    /// Path of the copy: a folder of models, or the folder of the model.
    pub fn copy(&self) -> PathBuf {
        let view = self.worker.copies.view();
        self.worker.model.as_ref().map_or(view.to_owned(), |name| view.join(name))
    }

    /// Models of the place by name, each with the reason why its newest state is not in the copy.
    pub fn models(&self) -> BTreeMap<String, Option<String>> {
        self.worker.state.lock().models.clone()
    }

    /// State of the copy as a whole.
    pub fn state(&self) -> Copied {
        self.worker.state.lock().copied.clone()
    }

    /// True if the last look found the store away.
    pub fn is_away(&self) -> bool {
        self.worker.is_away.load(Relaxed)
    }

    /// Bytes downloaded so far.
    pub fn downloaded(&self) -> u64 {
        self.worker.progress.downloaded.load(Relaxed)
    }

    /// Copies the newest state of one model, and waits for that.
    ///
    /// # Errors
    /// The store is away, or the model can not be copied.
    pub fn fetch(&self, model: &str) -> Result<(), String> {
        let (done, result) = mpsc::channel();
        let request = Request { model: model.to_owned(), done };
        let sent = self.requests.as_ref().map(|requests| requests.send(request));
        match (sent, result.recv()) {
            (Some(Ok(())), Ok(result)) => result,
            _ => Err("its copying has ended".into()),
        }
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        // The thread ends with its inbox, in the middle of a download or a file if need be.
        self.worker.progress.stopping.store(true, Relaxed);
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Worker {
    async fn run(self: Arc<Self>, mut inbox: UnboundedReceiver<Request>) {
        let passes = tokio::spawn(Arc::clone(&self).passes());
        while let Some(Request { model, done }) = inbox.recv().await {
            let worker = Arc::clone(&self);
            tokio::spawn(async move {
                // Who asked may have left.
                drop(done.send(worker.fetch(&model).await));
            });
        }
        passes.abort();
    }

    /// Looks at the place again and again, or until it was copied once, or while the store is away.
    async fn passes(self: Arc<Self>) {
        loop {
            let is_settled = self.pass().await;
            let pause = match self.follow {
                Follow::Changes(pause) if is_settled => pause,
                Follow::Once if self.is_copied() => return,
                Follow::ByName if self.is_copied() => {
                    self.went_away.notified().await;
                    SOON
                }
                _ => SOON,
            };
            sleep_until(Instant::now() + pause).await;
        }
    }

    /// Looks at the place once and copies what has changed. Returns false if it is to look again
    /// soon.
    async fn pass(&self) -> bool {
        let listing = match self.look().await {
            Ok(listing) => listing,
            Err(reason) => {
                self.away(&reason);
                return matches!(self.state.lock().copied, Copied::Before(_));
            }
        };
        if self.follow == Follow::ByName {
            return true;
        }
        self.forget_removed(&listing);
        let (mut is_settled, mut away) = (true, None);
        let bytes = |objects: &Result<Vec<Object>, String>| {
            objects.iter().flatten().map(|object| object.size).fold(0, u64::saturating_add)
        };
        let mut smallest_first: Vec<_> = listing.iter().collect();
        smallest_first.sort_by_key(|(_, objects)| bytes(objects));
        for (name, objects) in smallest_first {
            let problem = match self.copy_listed(name, objects).await {
                Ok(()) => None,
                Err(Failure::Here(reason)) => Some(reason),
                Err(Failure::Changed) => {
                    is_settled = false;
                    continue;
                }
                Err(Failure::Away(reason)) => {
                    away = Some(reason);
                    continue;
                }
            };
            self.note(name, problem);
        }
        match away {
            Some(reason) => {
                self.away(&reason);
                false
            }
            None if is_settled => {
                self.copies.set_complete();
                self.state.lock().copied = Copied::All;
                true
            }
            None => false,
        }
    }

    fn is_copied(&self) -> bool {
        self.state.lock().copied == Copied::All
    }

    /// Lists the place, and notes the names of its models.
    async fn look(&self) -> Result<Listing, String> {
        let listing = list(&self.place, self.model.as_deref()).await?;
        if self.is_away.swap(false, Relaxed) {
            tracing::info!("{} is back", self.place.label());
        }
        let mut state = self.state.lock();
        for name in listing.keys() {
            state.models.entry(name.clone()).or_default();
        }
        if self.follow == Follow::ByName {
            // Nothing more is to be copied before it is asked for.
            state.copied = Copied::All;
        }
        Ok(listing)
    }

    /// Copies the newest state of one model.
    async fn fetch(&self, model: &str) -> Result<(), String> {
        for _ in 0..ATTEMPTS_MAX {
            let listing = self.look().await.inspect_err(|reason| self.away(reason));
            let of_store = |reason| format!("{}: {reason}", self.place.label());
            let listing = listing.map_err(of_store)?;
            let Some(objects) = listing.get(model) else {
                self.forget_removed(&listing);
                return Ok(());
            };
            match self.copy_listed(model, objects).await {
                Ok(()) => {
                    self.note(model, None);
                    return Ok(());
                }
                Err(Failure::Changed) => {}
                Err(Failure::Away(reason)) => {
                    self.away(&reason);
                    return Err(of_store(reason));
                }
                Err(Failure::Here(reason)) => {
                    self.note(model, Some(reason.clone()));
                    return Err(of_store(reason));
                }
            }
        }
        Err(format!("{}: it changes all the time", self.place.label()))
    }

    async fn copy_listed(
        &self,
        name: &str,
        objects: &Result<Vec<Object>, String>,
    ) -> Result<(), Failure> {
        let objects = objects.as_ref().map_err(|reason| Failure::Here(reason.clone()))?;
        let busy = Arc::clone(self.busy.lock().entry(name.to_owned()).or_default());
        let _one_at_a_time = busy.lock().await;
        let label = self.place.label();
        let one = |object: Object| async move {
            let (store, of_place) = (&self.place.store, (label, &object));
            let content = download(store, &self.cache, of_place, &self.progress).await?;
            Ok::<_, Failure>((object.path, content))
        };
        // They are held until the model is shown.
        let contents: Vec<_> = stream::iter(objects.clone())
            .map(one)
            .buffer_unordered(FILES_AT_ONCE)
            .try_collect()
            .await?;
        let digest = |(path, held): &(String, Held)| (path.clone(), held.digest().to_owned());
        let files: Files = contents.iter().map(digest).collect();
        self.copies.show(name, &files)?;
        Ok(())
    }

    /// Takes away the models that the place has no more.
    fn forget_removed(&self, listing: &Listing) {
        for name in self.copies.names().iter().filter(|name| !listing.contains_key(*name)) {
            self.copies.remove(name);
        }
        self.state.lock().models.retain(|name, _| listing.contains_key(name));
    }

    fn note(&self, name: &str, problem: Option<String>) {
        let before = self.state.lock().models.insert(name.to_owned(), problem.clone());
        if let Some(problem) = problem.filter(|problem| before != Some(Some(problem.clone()))) {
            tracing::warn!("{}: model '{name}' is not copied: {problem}", self.place.label());
        }
    }

    /// Notes that the store is away. A copy of an earlier run serves instead.
    fn away(&self, reason: &str) {
        let is_new = !self.is_away.swap(true, Relaxed);
        let label = self.place.label();
        if is_new {
            tracing::error!("{label} can not be read, so its models stay as they are: {reason}");
        }
        let has_copy = self.copies.is_complete();
        if has_copy && matches!(self.state.lock().copied, Copied::NotYet(_)) {
            self.copies.remove_spoiled(&self.progress.stopping);
            let names = self.copies.names();
            self.state.lock().models.extend(names.into_iter().map(|name| (name, None)));
        }
        let reason = reason.to_owned();
        let copied = if has_copy { Copied::Before(reason) } else { Copied::NotYet(reason) };
        self.state.lock().copied = copied;
        self.went_away.notify_one();
    }
}
