//! The path of a run: connect, send, watch, report.

mod seen;

use crate::arrival::{Arrival, Part, Window};
use crate::mix::Mix;
use crate::payload;
use crate::prepare::Prepared;
use crate::record::Recorder;
use crate::report::{Interval, Lasted, Report};
use crate::target::{Address, Failure};
use crate::worker::{Phase, Worker};
use parking_lot::Mutex;
use seen::{Seen, first_begins};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval_at};

/// What is asked of the server.
#[derive(Clone, Debug)]
pub struct Load {
    /// When requests go out.
    pub arrival: Arrival,
    /// The most requests under way at once: connections of HTTP, streams of gRPC. Above 0.
    pub connections: usize,
    /// Threads that send, above 0 and at most `connections`.
    pub threads: usize,
    /// Whether the threads look for answers all the time instead of sleeping until one comes, so
    /// that nobody has to wake them: neither do latencies hold that, nor has a server on this
    /// machine to do it. Each takes a whole processor.
    pub busy_poll: bool,
    /// How long, and how much of it counts.
    pub window: Window,
    /// A request without an answer after this time has failed.
    pub timeout: Duration,
    /// An answer within this time is in time; the report counts them.
    pub objective: Option<Duration>,
}

/// How far a run has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Since the run's start, warm-up included.
    pub elapsed: Duration,
    /// Answered requests that count.
    pub answered: u64,
    /// Failed requests that count.
    pub failed: u64,
    /// Those of them that the server turned down.
    pub refused: u64,
    /// The measurement so far; nothing during the warm-up.
    pub intervals: &'a [Interval],
}

/// Why a run did not take place.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no server.
    #[error("{failure}; is a server running at {address}?")]
    Unreachable {
        /// Where none is.
        address: Address,
        /// What was seen.
        failure: Failure,
    },
    /// The server does not describe the model.
    #[error("the server at {address} does not describe the model `{model}`: {failure}")]
    Model {
        /// The server.
        address: Address,
        /// The model's name.
        model: String,
        /// What it said instead.
        failure: Failure,
    },
    /// There is nothing to send.
    #[error(transparent)]
    Payload(#[from] payload::Error),
    /// One request was tried, and a load of them would fare no better.
    #[error("the first request failed, so that no load was sent: {0}")]
    FirstRequest(Failure),
    /// The server took the first connection but not all of them.
    #[error("cannot open {count} connections: {failure}")]
    Connections {
        /// How many were wanted.
        count: usize,
        /// What was seen.
        failure: Failure,
    },
    /// The system has no threads or timers left.
    #[error("cannot send: {0}")]
    System(#[from] io::Error),
}

/// Sends the load until its time is over or `stop` is ready, and calls `observe` at the end of
/// each interval: once a second, or more often in a short run.
///
/// # Errors
/// When not all connections can be made. Requests that fail are in the report.
pub async fn run(
    prepared: &Prepared,
    load: &Load,
    stop: impl Future<Output = ()>,
    mut observe: impl FnMut(Progress<'_>),
) -> Result<Report, Error> {
    let (mut threads, connected) = Threads::start(prepared, load);
    threads.wait_connected(connected).await?;
    let start = Instant::now();
    threads.phase.send_replace(Phase::Running { start });

    let mut seen = Seen::new(prepared, load);
    // An interval begins where the measurement does.
    let first = start + first_begins(load.window);
    let mut tick = interval_at(first.into(), load.window.interval());
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    tokio::pin!(stop);
    let mut stopped = None;
    loop {
        tokio::select! {
            result = threads.wait() => break result?,
            _ = tick.tick() => {
                if seen.is_due(start.elapsed()) {
                    seen.drain(&threads.recorders, start.elapsed());
                }
                observe(seen.progress(start.elapsed()));
            }
            () = &mut stop, if stopped.is_none() => {
                stopped = Some(start.elapsed());
                threads.phase.send_replace(Phase::Stopped);
            }
        }
    }
    seen.drain(&threads.recorders, start.elapsed());
    let lasted = lasted(load.window, stopped, seen.total.last_end);
    Ok(Report::new(prepared, load, &seen.total, lasted, seen.intervals))
}

fn lasted(window: Window, stopped: Option<Duration>, last_end: Duration) -> Lasted {
    let since = |end: Duration| end.saturating_sub(window.warm_up);
    Lasted {
        measured: since(stopped.map_or(window.end(), |at| at.min(window.end()))),
        drained: since(stopped.unwrap_or_else(|| window.end().max(last_end))),
    }
}

/// The threads of a run, and what each of them has seen.
struct Threads {
    connections: usize,
    phase: watch::Sender<Phase>,
    recorders: Vec<Arc<Mutex<Recorder>>>,
    running: JoinSet<io::Result<()>>,
}

type Connected = mpsc::Receiver<Result<(), Failure>>;

impl Threads {
    fn start(prepared: &Prepared, load: &Load) -> (Self, Connected) {
        let (phase, _) = watch::channel(Phase::Connecting);
        let (connected, hear) = mpsc::channel(load.threads);
        let mix = Arc::new(Mix::new(prepared.kinds.iter().map(|kind| kind.weight)));
        let mut recorders = Vec::new();
        let mut running = JoinSet::new();
        for part in Part::all(load.threads) {
            let recorder = Arc::new(Mutex::new(Recorder::new(load, prepared.kinds.len())));
            recorders.push(recorder.clone());
            let worker = Worker {
                endpoint: prepared.endpoint.clone(),
                mix: mix.clone(),
                load: load.clone(),
                part,
                recorder,
                phase: phase.subscribe(),
                connected: connected.clone(),
            };
            running.spawn_blocking(|| worker.run());
        }
        (Self { connections: load.connections, phase, recorders, running }, hear)
    }

    async fn wait_connected(&mut self, mut connected: Connected) -> Result<(), Error> {
        while let Some(result) = connected.recv().await {
            if let Err(failure) = result {
                self.phase.send_replace(Phase::Stopped);
                return Err(Error::Connections { count: self.connections, failure });
            }
        }
        Ok(())
    }

    /// Waits until every thread has ended; may be called again when it was left.
    async fn wait(&mut self) -> Result<(), Error> {
        while let Some(ended) = self.running.join_next().await {
            ended.map_err(io::Error::from)??;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::prepare::PreparedKind;
    use crate::target::{Endpoint, Protocol, Target};

    /// Ten seconds at a rate.
    pub(crate) fn load() -> Load {
        Load {
            arrival: Arrival::Open { requests_per_s: 100.0 },
            connections: 1,
            threads: 1,
            busy_poll: false,
            window: Window { warm_up: Duration::from_secs(1), duration: Duration::from_secs(10) },
            timeout: Duration::from_secs(1),
            objective: None,
        }
    }

    /// A model with so many rows a request, on a server that is not there.
    pub(crate) fn prepared(rows: usize) -> Prepared {
        let address = "http://localhost:1".parse().unwrap();
        let server = Target::new(address, Protocol::Json, "m").server();
        let kind =
            PreparedKind { model: "m".into(), version: None, input: None, weight: 1.0, rows };
        Prepared { endpoint: Endpoint::new(&server, Vec::new()), server, kinds: vec![kind] }
    }
    #[test]
    fn the_measurement_ends_with_its_window_and_not_with_the_last_answer() {
        let s = Duration::from_secs;
        let found = |stopped: Option<u64>, last_end| {
            let lasted = lasted(load().window, stopped.map(s), s(last_end));
            (lasted.measured.as_secs(), lasted.drained.as_secs())
        };
        assert_eq!(found(None, 10), (10, 10));
        assert_eq!(found(None, 41), (10, 40));
        assert_eq!(found(Some(6), 5), (5, 5));
        assert_eq!(found(Some(21), 12), (10, 20));
        assert_eq!(found(Some(0), 0), (0, 0));
    }
}
