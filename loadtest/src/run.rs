//! The path of a run: describe the model, make the payload, encode it, connect, send, report.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::arrival::{Arrival, Part, Window};
use crate::payload::{self, Source};
use crate::record::Recorder;
use crate::report::Report;
use crate::target::{Address, Endpoint, Failure, Target};
use crate::worker::{Phase, Worker};

/// How often a run is observed.
const TICK: Duration = Duration::from_secs(1);

/// What is asked of the server.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// When requests go out.
    pub arrival: Arrival,
    /// The most requests under way at once: connections of HTTP, streams of gRPC. Above 0.
    pub connections: usize,
    /// Threads that send, above 0 and at most `connections`.
    pub threads: usize,
    /// How long, and how much of it counts.
    pub window: Window,
    /// A request without an answer after this time has failed.
    pub timeout: Duration,
    /// An answer within this time is in time; the report counts them.
    pub objective: Option<Duration>,
}

/// A target that answered one request, and the request in its encoded form.
#[derive(Clone, Debug)]
pub struct Prepared {
    pub(crate) target: Target,
    pub(crate) endpoint: Endpoint,
    pub(crate) rows: usize,
}

/// How far a run has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Since the run's start, warm-up included.
    pub elapsed: Duration,
    /// Answered requests that count.
    pub answered: u64,
    /// Failed requests that count.
    pub failed: u64,
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

/// Describes the model, makes and encodes its request, and sends it once.
///
/// # Errors
/// When any of it fails; each step has `limit` for its time.
pub async fn prepare(target: Target, source: &Source, limit: Duration) -> Result<Prepared, Error> {
    let described = timeout(limit, target.describe()).await;
    let model = described
        .unwrap_or(Err(Failure::Timeout(limit)))
        .map_err(|failure| undescribed(&target, failure))?;
    let payload = source.payload(&model)?;
    let endpoint = target.endpoint(&payload)?;

    let first = async {
        for connection in &mut endpoint.connect(1).await? {
            connection.send().await?;
        }
        Ok(())
    };
    let first = timeout(limit, first).await.unwrap_or(Err(Failure::Timeout(limit)));
    first.map_err(Error::FirstRequest)?;
    Ok(Prepared { target, endpoint, rows: payload.rows(&model) })
}

fn undescribed(target: &Target, failure: Failure) -> Error {
    let (address, model) = (target.address.clone(), target.model.clone());
    match failure {
        Failure::Connect(_) => Error::Unreachable { address, failure },
        _ => Error::Model { address, model, failure },
    }
}

/// Sends the load until its time is over or `stop` is ready, and calls `observe` each second.
///
/// # Errors
/// When not all connections can be made. Requests that fail are in the report.
pub async fn run(
    prepared: &Prepared,
    load: &Load,
    stop: impl Future<Output = ()>,
    mut observe: impl FnMut(Progress),
) -> Result<Report, Error> {
    let (mut threads, connected) = Threads::start(prepared, load);
    threads.wait_connected(connected).await?;
    let start = Instant::now();
    threads.phase.send_replace(Phase::Running { start });

    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick.tick().await;
    tokio::pin!(stop);
    let mut stopped = None;
    loop {
        tokio::select! {
            result = threads.wait() => break result?,
            _ = tick.tick() => observe(threads.progress(start)),
            () = &mut stop, if stopped.is_none() => {
                stopped = Some(start.elapsed());
                threads.phase.send_replace(Phase::Stopped);
            }
        }
    }
    let total = threads.total();
    let end = stopped.unwrap_or_else(|| load.window.end().max(total.last_end));
    Ok(Report::new(prepared, load, &total, end.saturating_sub(load.window.warm_up)))
}

/// The threads of a run, and what each of them has seen.
struct Threads {
    load: Load,
    phase: watch::Sender<Phase>,
    recorders: Vec<Arc<Mutex<Recorder>>>,
    running: JoinSet<io::Result<()>>,
}

type Connected = mpsc::Receiver<Result<(), Failure>>;

impl Threads {
    fn start(prepared: &Prepared, load: &Load) -> (Self, Connected) {
        let (phase, _) = watch::channel(Phase::Connecting);
        let (connected, hear) = mpsc::channel(load.threads);
        let mut recorders = Vec::new();
        let mut running = JoinSet::new();
        for part in Part::all(load.threads) {
            let recorder = Arc::new(Mutex::new(Recorder::default()));
            recorders.push(recorder.clone());
            let worker = Worker {
                endpoint: prepared.endpoint.clone(),
                load: *load,
                part,
                recorder,
                phase: phase.subscribe(),
                connected: connected.clone(),
            };
            running.spawn_blocking(|| worker.run());
        }
        (Self { load: *load, phase, recorders, running }, hear)
    }

    async fn wait_connected(&mut self, mut connected: Connected) -> Result<(), Error> {
        while let Some(result) = connected.recv().await {
            if let Err(failure) = result {
                self.phase.send_replace(Phase::Stopped);
                return Err(Error::Connections { count: self.load.connections, failure });
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

    fn progress(&self, start: Instant) -> Progress {
        let mut progress = Progress { elapsed: start.elapsed(), answered: 0, failed: 0 };
        for recorder in &self.recorders {
            let recorder = recorder.lock();
            progress.answered += recorder.answered();
            progress.failed += recorder.failed();
        }
        progress
    }

    fn total(&self) -> Recorder {
        let mut total = Recorder::default();
        self.recorders.iter().for_each(|recorder| total.add(&recorder.lock()));
        total
    }
}
