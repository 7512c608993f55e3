//! Thread of a run, with its share of the connections and of the requests.

use crate::arrival::{Partition, Schedule};
use crate::load::Load;
use crate::mix::Mix;
use crate::record::{Completion, Recorder};
use crate::target::{Connection, Connector, Failure};
use crate::timer::Timer;
use crate::utilization::Utilization;
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinSet, coop, yield_now};
use tokio::time::{sleep, timeout, timeout_at};

/// Pause between attempts to connect to a server that is not there.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Shortest interval between wake-ups. At high rates several requests become due at once, which
/// costs less than a wake-up for each. The delay counts as latency.
const WAKE_INTERVAL_MIN: Duration = Duration::from_micros(40);

/// Phase of a run, which all threads follow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Phase {
    /// Connections are being made.
    Connecting,
    /// Requests are sent at times relative to `start`.
    Running { start: Instant },
    /// The run ends now, whatever is in flight.
    Stopped,
}

/// Everything that a thread needs.
pub(crate) struct Worker {
    pub(crate) connector: Connector,
    pub(crate) mix: Arc<Mix>,
    pub(crate) load: Load,
    pub(crate) part: Partition,
    pub(crate) recorder: Arc<Mutex<Recorder>>,
    pub(crate) phase: watch::Receiver<Phase>,
    /// Channel for the result of connecting.
    pub(crate) connected: mpsc::Sender<Result<(), Failure>>,
}

impl Worker {
    /// Runs until the end of the run.
    pub(crate) fn run(self) -> io::Result<()> {
        runtime::Builder::new_current_thread().enable_all().build()?.block_on(self.work())
    }

    async fn work(self) -> io::Result<()> {
        let Self { connector, mix, load, part, recorder, mut phase, connected } = self;
        let result = connect(&connector, &load, part).await;
        let (connections, result) = match result {
            Ok(connections) => (connections, Ok(())),
            Err(failure) => (Vec::new(), Err(failure)),
        };
        // The receiver is gone when another thread has failed.
        let _ = connected.send(result).await;
        drop(connected);

        let begun = phase.wait_for(|phase| *phase != Phase::Connecting).await;
        let Ok(Phase::Running { start }) = begun.map(|phase| *phase) else { return Ok(()) };
        let choice = AtomicU64::new((part.index as u64) << 48);
        let utilization = Utilization::start(load.busy_poll);
        let sender = Sender { load, mix, choice, start, recorder: recorder.clone() };
        let result = tokio::select! {
            result = sender.send_all(connections, part) => result,
            _ = phase.wait_for(|phase| *phase == Phase::Stopped) => Ok(()),
        };
        recorder.lock().utilization = utilization.share(start.elapsed());
        result
    }
}

async fn connect(
    connector: &Connector,
    load: &Load,
    part: Partition,
) -> Result<Vec<Connection>, Failure> {
    let connecting = connector.connect(part.share(load.connections));
    timeout(load.timeout, connecting).await.unwrap_or(Err(Failure::Timeout(load.timeout)))
}

/// Shared state of the connections while requests are sent.
struct Sender {
    load: Load,
    mix: Arc<Mix>,
    /// Number of kinds that were chosen.
    choice: AtomicU64,
    start: Instant,
    recorder: Arc<Mutex<Recorder>>,
}

impl Sender {
    async fn send_all(self, connections: Vec<Connection>, part: Partition) -> io::Result<()> {
        let sender = Arc::new(self);
        let mut tasks = JoinSet::new();
        let end = sender.load.window.end();
        let count = connections.len();
        let numbered = (part.first(sender.load.connections)..).zip(connections);
        match sender.load.arrival.schedule(part, end) {
            None => {
                for (number, connection) in numbered {
                    tasks.spawn(sender.clone().closed_loop(number, connection));
                }
            }
            Some(schedule) => {
                let due = Arc::new(DueRequests::new(schedule.clone()));
                for (number, connection) in numbered {
                    tasks.spawn(sender.clone().open_loop(number, connection, due.clone()));
                }
                // The connections begin to wait first, or the first request would find none of
                // them.
                yield_now().await;
                sender.release(schedule, &due).await?;
                due.permits.add_permits(count);
            }
        }
        while tasks.join_next().await.is_some() {}
        Ok(())
    }

    async fn closed_loop(self: Arc<Self>, number: usize, mut connection: Connection) {
        loop {
            let at = self.start.elapsed();
            if at >= self.load.window.end() {
                return;
            }
            self.send(number, &mut connection, at).await;
        }
    }

    async fn open_loop(
        self: Arc<Self>,
        number: usize,
        mut connection: Connection,
        due: Arc<DueRequests>,
    ) {
        while let Some((at, waited)) = due.next().await {
            if waited && self.load.window.counts(at) {
                self.recorder.lock().waited += 1;
            }
            self.send(number, &mut connection, at).await;
        }
    }

    /// Makes requests due at their times.
    async fn release(&self, schedule: Schedule, due: &DueRequests) -> io::Result<()> {
        let mut timer = Timer::new()?;
        let mut woken = self.start;
        for at in schedule {
            let when = self.start + at;
            if when > Instant::now() {
                timer.wait_until(when.max(woken + WAKE_INTERVAL_MIN)).await?;
                woken = Instant::now();
            }
            if self.load.window.counts(at) {
                self.recorder.lock().record_send_delay(self.start.elapsed().saturating_sub(at));
            }
            due.permits.add_permits(1);
            // A late schedule would not wait, and starve the connections.
            coop::consume_budget().await;
        }
        Ok(())
    }

    /// Sends the request that was scheduled `at`, on the connection of this number.
    async fn send(&self, number: usize, connection: &mut Connection, at: Duration) {
        let kind = self.mix.choose(self.choice.fetch_add(1, Ordering::Relaxed));
        let deadline = self.start + at + self.load.timeout;
        let late = Err(Failure::Timeout(self.load.timeout));
        let result = if Instant::now() < deadline {
            timeout_at(deadline.into(), connection.send(kind)).await.unwrap_or(late)
        } else {
            late
        };
        self.record(number, Completion { kind, at, end: self.start.elapsed(), result: &result });
        if matches!(result, Err(Failure::Connect(_))) {
            sleep(RETRY_PAUSE).await;
        }
    }

    fn record(&self, number: usize, completion: Completion<'_>) {
        let mut recorder = self.recorder.lock();
        if completion.result.is_ok() {
            recorder.count_answer(number, completion.end);
        }
        if self.load.window.counts(completion.at) {
            recorder.record_completion(completion);
        }
    }
}

/// Requests of an open loop that wait for a free connection. They need no memory: a permit stands
/// for each, and a second iteration of the schedule gives its time.
struct DueRequests {
    permits: Semaphore,
    times: Mutex<Schedule>,
}

impl DueRequests {
    fn new(schedule: Schedule) -> Self {
        Self { permits: Semaphore::new(0), times: Mutex::new(schedule) }
    }

    /// Next due request, and true if it was due before a connection was free; `None` at the end.
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
    async fn due_requests_are_taken_in_order_and_then_end() {
        let schedule =
            Schedule::constant(1000.0, Partition { index: 0, count: 1 }, Duration::from_millis(2));
        let due = DueRequests::new(schedule);
        due.permits.add_permits(1);
        assert_eq!(due.next().await, Some((Duration::ZERO, true)));
        let (taken, ()) = tokio::join!(due.next(), async { due.permits.add_permits(1) });
        assert_eq!(taken, Some((Duration::from_millis(1), false)));
        due.permits.add_permits(1);
        assert_eq!(due.next().await, None);
    }
}
