//! Keeps the history, and sends changes to the viewers as server-sent events.
//!
//! A sample is taken every second. Everything else happens only while there are viewers, and once
//! for all of them. The number of viewers is limited, each holds one frame at most, and a viewer
//! that does not keep up is disconnected.

use super::frame::Frame;
use super::history::{History, Key, STEP_S};
use super::sample::Reading;
use super::snapshot::{Process, Snapshot};
use super::{Error, Source, components};
use bytes::Bytes;
use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval, timeout_at};

/// Interval between two samples.
const TICK: Duration = Duration::from_secs(1);

/// Most viewers at once.
const VIEWERS_MAX: usize = 16;

/// Frames that a viewer may fall behind.
const FRAMES_BEHIND_MAX: u64 = 30;

/// Time limit of one event stream. Browsers reconnect by themselves, and permits of viewers that
/// have vanished become free.
const VIEW_MAX: Duration = Duration::from_secs(600);

/// Versions whose history is kept, the first by name.
const TRACKED_MAX: usize = 64;

/// First bytes of an event stream: the delay before a reconnect, in milliseconds.
const STREAM_START: Bytes = Bytes::from_static(b"retry: 2000\n\n");

/// The dashboard of one server.
pub struct Dashboard {
    source: Arc<dyn Source>,
    started: Instant,
    io_threads: usize,
    compute_threads: usize,
    state: Mutex<Shown>,
    frames: watch::Receiver<Arc<Frame>>,
    permits: Arc<Semaphore>,
}

#[derive(Default)]
struct Shown {
    history: History,
    /// Samples taken.
    samples: u64,
    /// Time of the last sample, and the processor time used until then.
    sampled: (Duration, Duration),
    cores_busy: f64,
    /// The last frame, and the step of the history that its charts show.
    frame: Arc<Frame>,
    step: Option<u64>,
}

impl Dashboard {
    /// Starts to take samples, until `stop` changes. It needs a runtime of tokio.
    ///
    /// The page shows the numbers of threads: those of connections, and those of models.
    pub fn start(
        source: Arc<dyn Source>,
        (io_threads, compute_threads): (usize, usize),
        stop: watch::Receiver<bool>,
    ) -> Arc<Self> {
        let (sender, frames) = watch::channel(Arc::default());
        let dashboard = Arc::new(Self {
            source,
            started: Instant::now(),
            io_threads,
            compute_threads,
            state: Mutex::default(),
            frames,
            permits: Arc::new(Semaphore::new(VIEWERS_MAX)),
        });
        tokio::spawn(Arc::clone(&dashboard).run(sender, stop));
        dashboard
    }

    /// Takes samples. When it ends, it drops the sender, which ends all event streams.
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
            let is_watched = self.permits.available_permits() < VIEWERS_MAX;
            let dashboard = Arc::clone(&self);
            let work = move || {
                dashboard.sample();
                is_watched.then(|| dashboard.frame())
            };
            // Not on this thread, which accepts connections.
            if let Ok(Some(frame)) = tokio::task::spawn_blocking(work).await {
                sender.send_replace(frame);
            }
        }
    }

    fn sample(&self) {
        let serving = self.source.engine().repository().serving();
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

    /// The frame of the last sample, made once.
    pub(super) fn frame(&self) -> Arc<Frame> {
        let mut state = self.state.lock();
        // The first viewer may come before the first sample.
        let number = state.samples.max(1);
        if state.frame.number == number {
            return Arc::clone(&state.frame);
        }
        let process = Process {
            up: self.started.elapsed(),
            resident_bytes: self.source.resident_bytes(),
            cores_busy: state.cores_busy,
            io_threads: self.io_threads,
            compute_threads: self.compute_threads,
        };
        let snapshot = Snapshot::at(&*self.source, &state.history, process);
        let mut contents = components::quick(&snapshot);
        let step = state.sampled.0.as_secs() / STEP_S;
        if state.step.replace(step) != Some(step) {
            contents.extend(components::slow(&snapshot));
        }
        state.frame = Arc::new(state.frame.next(number, contents));
        Arc::clone(&state.frame)
    }

    /// Adds a viewer.
    ///
    /// # Errors
    /// When there are too many.
    pub(super) fn watch(&self) -> Result<Viewer, Error> {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            return Err(Error::TooManyViewers { limit: VIEWERS_MAX });
        };
        Ok(Viewer::new(&self.frames, permit))
    }
}

/// A viewer of the page.
pub(super) struct Viewer {
    frames: watch::Receiver<Arc<Frame>>,
    /// Number of the last frame that was sent; `None` before the start of the stream.
    seen: Option<u64>,
    ends: tokio::time::Instant,
    _permit: OwnedSemaphorePermit,
}

impl Viewer {
    /// A viewer of frames from now on. The last frame is as old as the last viewer.
    fn new(frames: &watch::Receiver<Arc<Frame>>, permit: OwnedSemaphorePermit) -> Self {
        let mut frames = frames.clone();
        frames.mark_unchanged();
        let ends = tokio::time::Instant::now() + VIEW_MAX;
        Self { frames, seen: None, ends, _permit: permit }
    }

    /// The next events. Route late, it skips to the newest; asked much too late, it ends.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        let Some(seen) = self.seen else {
            self.seen = Some(0);
            return Some(STREAM_START);
        };
        timeout_at(self.ends, self.frames.changed()).await.ok()?.ok()?;
        let frame = Arc::clone(&self.frames.borrow_and_update());
        if seen > 0 && frame.number.saturating_sub(seen) > FRAMES_BEHIND_MAX {
            return None;
        }
        self.seen = Some(frame.number);
        Some(frame.events_after(seen).into())
    }
}

/// Processor time of the process.
fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use maud::PreEscaped;

    fn viewer(frames: &watch::Receiver<Arc<Frame>>) -> Viewer {
        Viewer::new(frames, Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap())
    }

    fn frame(number: u64) -> Arc<Frame> {
        let content = vec![("status".to_owned(), PreEscaped(number.to_string()))];
        Arc::new(Frame::default().next(number, content))
    }

    #[tokio::test]
    async fn a_viewer_gets_the_start_of_the_stream_and_then_changes() {
        let (sender, frames) = watch::channel(frame(5));
        let mut viewer = viewer(&frames);
        assert_eq!(viewer.next().await, Some(STREAM_START));
        sender.send_replace(frame(6));
        sender.send_replace(frame(7));
        assert_eq!(viewer.next().await.unwrap(), "event: status\ndata: 7\n\n");
        drop(sender);
        assert_eq!(viewer.next().await, None);
    }

    #[tokio::test]
    async fn a_viewer_after_a_long_gap_gets_new_frames() {
        let (sender, frames) = watch::channel(frame(1));
        // For other viewers, which have left.
        sender.send_replace(frame(2));
        let mut viewer = viewer(&frames);
        viewer.next().await;
        for number in [100, 101] {
            sender.send_replace(frame(number));
            let events = viewer.next().await.unwrap();
            assert_eq!(events, format!("event: status\ndata: {number}\n\n"));
        }
    }

    #[tokio::test]
    async fn a_viewer_that_does_not_keep_up_is_disconnected() {
        let (sender, frames) = watch::channel(frame(1));
        let mut viewer = viewer(&frames);
        viewer.next().await;
        for (number, is_kept) in
            [(2, true), (2 + FRAMES_BEHIND_MAX, true), (3 + 2 * FRAMES_BEHIND_MAX, false)]
        {
            sender.send_replace(frame(number));
            assert_eq!(viewer.next().await.is_some(), is_kept, "{number}");
        }
    }

    #[tokio::test]
    async fn an_event_stream_has_a_time_limit() {
        let (_sender, frames) = watch::channel(frame(1));
        let mut viewer = viewer(&frames);
        viewer.ends = tokio::time::Instant::now();
        viewer.next().await;
        assert_eq!(viewer.next().await, None);
    }
}
