//! Keeps the history, and tells those who watch what changed.
//!
//! A sample is taken every second, whoever looks; everything else is done only when somebody does,
//! and then once for all of them. Watchers have a limit, none holds more than the frame that it
//! sends, and one that does not keep up is let go.

use super::frame::Frame;
use super::history::{History, Key, STEP_S};
use super::look::{Look, Process};
use super::parts;
use super::sample::Reading;
use crate::memory;
use crate::server::Server;
use crate::status::Error;
use bytes::Bytes;
use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval, timeout_at};

/// How often a sample is taken.
const TICK: Duration = Duration::from_secs(1);

/// Those who may watch at once.
const WATCHERS_MAX: usize = 16;

/// Frames that a watcher may fall behind.
const LAG_MAX: u64 = 30;

/// How long one may watch before it has to ask again, which browsers do by themselves: places of
/// those that are gone without a word become free.
const WATCH_MAX: Duration = Duration::from_secs(600);

/// Versions whose history is kept, the first by name.
const TRACKED_MAX: usize = 64;

/// What an event stream begins with: how soon to ask again when it breaks, in milliseconds.
const GREETING: Bytes = Bytes::from_static(b"retry: 2000\n\n");

/// The history, and what is shown of it.
pub(crate) struct Dashboard {
    server: Arc<Server>,
    started: Instant,
    io_threads: usize,
    compute_threads: usize,
    state: Mutex<Shown>,
    frames: watch::Receiver<Arc<Frame>>,
    places: Arc<Semaphore>,
}

#[derive(Default)]
struct Shown {
    history: History,
    /// Samples taken.
    samples: u64,
    /// When the last was taken, and the processor time used until then.
    sampled: (Duration, Duration),
    cores_busy: f64,
    /// What was last put together, and the step of the history that its charts show.
    frame: Arc<Frame>,
    step: Option<u64>,
}

impl Dashboard {
    /// Starts to take samples, until `stop` changes.
    pub(crate) fn start(
        server: Arc<Server>,
        io_threads: usize,
        compute_threads: usize,
        stop: watch::Receiver<bool>,
    ) -> Arc<Self> {
        let (sender, frames) = watch::channel(Arc::default());
        let dashboard = Arc::new(Self {
            server,
            started: Instant::now(),
            io_threads,
            compute_threads,
            state: Mutex::default(),
            frames,
            places: Arc::new(Semaphore::new(WATCHERS_MAX)),
        });
        tokio::spawn(Arc::clone(&dashboard).run(sender, stop));
        dashboard
    }

    /// When it ends, the sender goes, and with it all streams of events.
    async fn run(
        self: Arc<Self>,
        sender: watch::Sender<Arc<Frame>>,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = stop.changed() => return,
            }
            let is_watched = self.places.available_permits() < WATCHERS_MAX;
            let dashboard = Arc::clone(&self);
            let work = move || {
                dashboard.sample();
                is_watched.then(|| dashboard.frame())
            };
            // Not on this thread, which takes the connections.
            if let Ok(Some(frame)) = tokio::task::spawn_blocking(work).await {
                sender.send_replace(frame);
            }
        }
    }

    fn sample(&self) {
        let serving = self.server.engine().repository().serving();
        let reading = |model: &Arc<skysail_engine::endpoint::Endpoint>| {
            let key: Key = (Arc::clone(model.name()), model.version());
            (key, Reading::of(model))
        };
        let readings = serving.iter().take(TRACKED_MAX).map(reading).collect();
        let (now, used) = (self.started.elapsed(), processor_time());
        let mut state = self.state.lock();
        state.history.record(now, readings);
        let (before, used_before) = std::mem::replace(&mut state.sampled, (now, used));
        let passed = now.saturating_sub(before).as_secs_f64();
        if passed > 0.0 {
            state.cores_busy = used.saturating_sub(used_before).as_secs_f64() / passed;
        }
        state.samples += 1;
    }

    /// What is shown of the last sample, put together once.
    pub(super) fn frame(&self) -> Arc<Frame> {
        let mut state = self.state.lock();
        // The first look may come before the first sample.
        let number = state.samples.max(1);
        if state.frame.number == number {
            return Arc::clone(&state.frame);
        }
        let process = Process {
            up: self.started.elapsed(),
            resident_bytes: memory::resident_bytes().unwrap_or_default(),
            cores_busy: state.cores_busy,
            io_threads: self.io_threads,
            compute_threads: self.compute_threads,
        };
        let look = Look::at(&self.server, &state.history, process);
        let mut contents = parts::quick(&look);
        let step = state.sampled.0.as_secs() / STEP_S;
        if state.step.replace(step) != Some(step) {
            contents.extend(parts::slow(&look));
        }
        state.frame = Arc::new(state.frame.next(number, contents));
        Arc::clone(&state.frame)
    }

    /// A place among those who watch.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn watch(&self) -> Result<Watcher, Error> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return Err(Error::Busy { what: format!("{WATCHERS_MAX} watchers of the dashboard") });
        };
        Ok(Watcher::new(&self.frames, place))
    }
}

/// One who watches.
pub(super) struct Watcher {
    frames: watch::Receiver<Arc<Frame>>,
    /// The last frame that was sent; `None` before the greeting.
    seen: Option<u64>,
    ends: tokio::time::Instant,
    _place: OwnedSemaphorePermit,
}

impl Watcher {
    /// One who is told what comes from now on: the last frame is as old as the last who watched.
    fn new(frames: &watch::Receiver<Arc<Frame>>, place: OwnedSemaphorePermit) -> Self {
        let mut frames = frames.clone();
        frames.mark_unchanged();
        let ends = tokio::time::Instant::now() + WATCH_MAX;
        Self { frames, seen: None, ends, _place: place }
    }

    /// The next events. Asked late, it skips to the newest; asked much too late, it ends.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        let Some(seen) = self.seen else {
            self.seen = Some(0);
            return Some(GREETING);
        };
        timeout_at(self.ends, self.frames.changed()).await.ok()?.ok()?;
        let frame = Arc::clone(&self.frames.borrow_and_update());
        if seen > 0 && frame.number.saturating_sub(seen) > LAG_MAX {
            return None;
        }
        self.seen = Some(frame.number);
        Some(frame.events_after(seen).into())
    }
}

/// What the process has used of all cores.
fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use maud::PreEscaped;

    fn watcher(frames: &watch::Receiver<Arc<Frame>>) -> Watcher {
        Watcher::new(frames, Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap())
    }

    fn frame(number: u64) -> Arc<Frame> {
        let content = vec![("status".to_owned(), PreEscaped(number.to_string()))];
        Arc::new(Frame::default().next(number, content))
    }

    #[tokio::test]
    async fn a_watcher_is_greeted_and_then_told_what_is_new() {
        let (sender, frames) = watch::channel(frame(5));
        let mut watcher = watcher(&frames);
        assert_eq!(watcher.next().await, Some(GREETING));
        sender.send_replace(frame(6));
        sender.send_replace(frame(7));
        assert_eq!(watcher.next().await.unwrap(), "event: status\ndata: 7\n\n");
        drop(sender);
        assert_eq!(watcher.next().await, None);
    }

    #[tokio::test]
    async fn who_comes_after_a_long_while_gets_what_is_new_and_stays() {
        let (sender, frames) = watch::channel(frame(1));
        // Sent to others, who have left.
        sender.send_replace(frame(2));
        let mut watcher = watcher(&frames);
        watcher.next().await;
        for number in [100, 101] {
            sender.send_replace(frame(number));
            let told = watcher.next().await.unwrap();
            assert_eq!(told, format!("event: status\ndata: {number}\n\n"));
        }
    }

    #[tokio::test]
    async fn a_watcher_that_does_not_keep_up_is_let_go() {
        let (sender, frames) = watch::channel(frame(1));
        let mut watcher = watcher(&frames);
        watcher.next().await;
        for (number, is_kept) in [(2, true), (2 + LAG_MAX, true), (3 + 2 * LAG_MAX, false)] {
            sender.send_replace(frame(number));
            assert_eq!(watcher.next().await.is_some(), is_kept, "{number}");
        }
    }

    #[tokio::test]
    async fn nobody_watches_for_ever() {
        let (_sender, frames) = watch::channel(frame(1));
        let mut watcher = watcher(&frames);
        watcher.ends = tokio::time::Instant::now();
        watcher.next().await;
        assert_eq!(watcher.next().await, None);
    }
}
