//! One thread of a run: its share of the connections and of the requests.

use crate::arrival::{Part, Schedule};
use crate::busy::Busy;
use crate::load::Load;
use crate::mix::Mix;
use crate::record::{Ended, Recorder};
use crate::target::{Connection, Endpoint, Failure};
use crate::timer::Timer;
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinSet, coop, yield_now};
use tokio::time::{sleep, timeout, timeout_at};

/// Between attempts to connect to a server that is not there.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Requests are made due no more often than this: at high rates several at once, which costs less
/// than to wake up for each. As lag it is seen, and in the latencies.
const REST: Duration = Duration::from_micros(40);

/// Where a run stands; all its threads follow it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Phase {
    /// The connections are being made.
    Connecting,
    /// Requests go out, at times that count from `start`.
    Running { start: Instant },
    /// It ends now, whatever is under way.
    Stopped,
}

/// What a thread works with.
pub(crate) struct Worker {
    pub(crate) endpoint: Endpoint,
    pub(crate) mix: Arc<Mix>,
    pub(crate) load: Load,
    pub(crate) part: Part,
    pub(crate) recorder: Arc<Mutex<Recorder>>,
    pub(crate) phase: watch::Receiver<Phase>,
    /// Hears once that the connections are made, or why not.
    pub(crate) connected: mpsc::Sender<Result<(), Failure>>,
}

impl Worker {
    /// Works until the run is over.
    pub(crate) fn run(self) -> io::Result<()> {
        runtime::Builder::new_current_thread().enable_all().build()?.block_on(self.work())
    }

    async fn work(self) -> io::Result<()> {
        let Self { endpoint, mix, load, part, recorder, mut phase, connected } = self;
        let result = connect(&endpoint, &load, part).await;
        let (connections, result) = match result {
            Ok(connections) => (connections, Ok(())),
            Err(failure) => (Vec::new(), Err(failure)),
        };
        // Nobody listens any more when another thread has failed.
        let _ = connected.send(result).await;
        drop(connected);

        let begun = phase.wait_for(|phase| *phase != Phase::Connecting).await;
        let Ok(Phase::Running { start }) = begun.map(|phase| *phase) else { return Ok(()) };
        let choice = AtomicU64::new((part.index as u64) << 48);
        let busy = Busy::start(load.busy_poll);
        let sending = Sending { load, mix, choice, start, recorder: recorder.clone() };
        let result = tokio::select! {
            result = sending.send_all(connections, part) => result,
            _ = phase.wait_for(|phase| *phase == Phase::Stopped) => Ok(()),
        };
        recorder.lock().busy_share = busy.share(start.elapsed());
        result
    }
}

async fn connect(endpoint: &Endpoint, load: &Load, part: Part) -> Result<Vec<Connection>, Failure> {
    let connecting = endpoint.connect(part.share(load.connections));
    timeout(load.timeout, connecting).await.unwrap_or(Err(Failure::Timeout(load.timeout)))
}

/// The connections' common knowledge while requests go out.
struct Sending {
    load: Load,
    mix: Arc<Mix>,
    /// How many kinds were chosen.
    choice: AtomicU64,
    start: Instant,
    recorder: Arc<Mutex<Recorder>>,
}

impl Sending {
    async fn send_all(self, connections: Vec<Connection>, part: Part) -> io::Result<()> {
        let sending = Arc::new(self);
        let mut tasks = JoinSet::new();
        let end = sending.load.window.end();
        match sending.load.arrival.schedule(part, end) {
            None => {
                for connection in connections {
                    tasks.spawn(sending.clone().closed_loop(connection));
                }
            }
            Some(schedule) => {
                let due = Arc::new(Due::new(schedule.clone()));
                let count = connections.len();
                for connection in connections {
                    tasks.spawn(sending.clone().open_loop(connection, due.clone()));
                }
                // The connections take their places, or the first request would find none of them.
                yield_now().await;
                sending.release(schedule, &due).await?;
                due.permits.add_permits(count);
            }
        }
        while tasks.join_next().await.is_some() {}
        Ok(())
    }

    async fn closed_loop(self: Arc<Self>, mut connection: Connection) {
        loop {
            let at = self.start.elapsed();
            if at >= self.load.window.end() {
                return;
            }
            self.send(&mut connection, at).await;
        }
    }

    async fn open_loop(self: Arc<Self>, mut connection: Connection, due: Arc<Due>) {
        while let Some((at, waited)) = due.next().await {
            if waited && self.load.window.counts(at) {
                self.recorder.lock().waited += 1;
            }
            self.send(&mut connection, at).await;
        }
    }

    /// Makes requests due at their times.
    async fn release(&self, schedule: Schedule, due: &Due) -> io::Result<()> {
        let mut timer = Timer::new()?;
        let mut woken = self.start;
        for at in schedule {
            let when = self.start + at;
            if when > Instant::now() {
                timer.wait_until(when.max(woken + REST)).await?;
                woken = Instant::now();
            }
            if self.load.window.counts(at) {
                self.recorder.lock().lagged(self.start.elapsed().saturating_sub(at));
            }
            due.permits.add_permits(1);
            // Behind its times it would not wait, and the connections never have their turn.
            coop::consume_budget().await;
        }
        Ok(())
    }

    /// Sends the request that was meant to go out `at`.
    async fn send(&self, connection: &mut Connection, at: Duration) {
        let kind = self.mix.choose(self.choice.fetch_add(1, Ordering::Relaxed));
        let deadline = self.start + at + self.load.timeout;
        let late = Err(Failure::Timeout(self.load.timeout));
        let result = if Instant::now() < deadline {
            timeout_at(deadline.into(), connection.send(kind)).await.unwrap_or(late)
        } else {
            late
        };
        self.record(kind, at, &result);
        if matches!(result, Err(Failure::Connect(_))) {
            sleep(RETRY_PAUSE).await;
        }
    }

    fn record(&self, kind: usize, at: Duration, result: &Result<(), Failure>) {
        let end = self.start.elapsed();
        let mut recorder = self.recorder.lock();
        if result.is_ok() {
            recorder.answer_came(end);
        }
        if self.load.window.counts(at) {
            recorder.ended(Ended { kind, at, end, result });
        }
    }
}

/// The requests of an open loop that wait for a free connection. They need no memory: a permit
/// says that there is one more, and the schedule, told again, says when it was due.
struct Due {
    permits: Semaphore,
    times: Mutex<Schedule>,
}

impl Due {
    fn new(schedule: Schedule) -> Self {
        Self { permits: Semaphore::new(0), times: Mutex::new(schedule) }
    }

    /// The next request that is due, and whether it was due before anyone was free to take it;
    /// `None` when there are no more.
    async fn next(&self) -> Option<(Duration, bool)> {
        let waited = match self.permits.try_acquire() {
            Ok(permit) => {
                permit.forget();
                true
            }
            Err(_) => {
                self.permits.acquire().await.ok()?.forget();
                false
            }
        };
        Some((self.times.lock().next()?, waited))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_due_is_taken_in_order_and_then_ends() {
        let schedule =
            Schedule::constant(1000.0, Part { index: 0, of: 1 }, Duration::from_millis(2));
        let due = Due::new(schedule);
        due.permits.add_permits(1);
        assert_eq!(due.next().await, Some((Duration::ZERO, true)));
        let (taken, ()) = tokio::join!(due.next(), async { due.permits.add_permits(1) });
        assert_eq!(taken, Some((Duration::from_millis(1), false)));
        due.permits.add_permits(1);
        assert_eq!(due.next().await, None);
    }
}
