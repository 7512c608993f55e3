//! Path of a run: connect, send, observe, report.

use crate::arrival::{Partition, Window};
use crate::error::Error;
use crate::intervals::{Intervals, first_begins};
use crate::load::Load;
use crate::mix::Mix;
use crate::prepare::Prepared;
use crate::record::Recorder;
use crate::report::{Elapsed, Interval, Report};
use crate::target::Failure;
use crate::worker::{Phase, Worker};
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval_at};

/// Progress of a run.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Time since the run's start, including the warm-up.
    pub elapsed: Duration,
    /// Answered requests that count.
    pub answered: u64,
    /// Failed requests that count.
    pub failed: u64,
    /// Rejected requests that count.
    pub rejected: u64,
    /// Intervals so far; none during the warm-up.
    pub intervals: &'a [Interval],
}

/// Sends the load until its time is over or `stop` completes. Calls `observe` at the end of each
/// interval, which is a second or shorter in a short run.
///
/// # Errors
/// Fails if not all connections can be made. Requests that fail are in the report.
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

    let mut intervals = Intervals::new(prepared, load);
    // An interval begins with the measurement.
    let first = start + first_begins(load.window);
    let mut tick = interval_at(first.into(), load.window.interval());
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    tokio::pin!(stop);
    let mut stopped = None;
    loop {
        tokio::select! {
            result = threads.wait() => break result?,
            _ = tick.tick() => {
                if intervals.is_due(start.elapsed()) {
                    intervals.drain(&threads.recorders, start.elapsed());
                }
                observe(intervals.progress(start.elapsed()));
            }
            () = &mut stop, if stopped.is_none() => {
                stopped = Some(start.elapsed());
                threads.phase.send_replace(Phase::Stopped);
            }
        }
    }
    intervals.drain(&threads.recorders, start.elapsed());
    let elapsed = elapsed(load.window, stopped, intervals.total.last_end);
    Ok(Report::new(prepared, load, &intervals.total, elapsed, intervals.finished))
}

fn elapsed(window: Window, stopped: Option<Duration>, last_end: Duration) -> Elapsed {
    let since = |end: Duration| end.saturating_sub(window.warm_up);
    Elapsed {
        measured: since(stopped.map_or(window.end(), |at| at.min(window.end()))),
        drained: since(stopped.unwrap_or_else(|| window.end().max(last_end))),
    }
}

/// Threads of a run, with their recorders.
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
        for part in Partition::all(load.threads) {
            let recorder = Arc::new(Mutex::new(Recorder::new(load, prepared.kinds.len())));
            recorders.push(recorder.clone());
            let worker = Worker {
                connector: prepared.connector.clone(),
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

    /// Waits until every thread has ended; may be cancelled and called again.
    async fn wait(&mut self) -> Result<(), Error> {
        while let Some(ended) = self.running.join_next().await {
            ended.map_err(io::Error::from)??;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::tests::load;

    #[test]
    fn the_measurement_ends_with_its_window_and_not_with_the_last_answer() {
        let s = Duration::from_secs;
        let found = |stopped: Option<u64>, last_end| {
            let elapsed = elapsed(load().window, stopped.map(s), s(last_end));
            (elapsed.measured.as_secs(), elapsed.drained.as_secs())
        };
        assert_eq!(found(None, 10), (10, 10));
        assert_eq!(found(None, 41), (10, 40));
        assert_eq!(found(Some(6), 5), (5, 5));
        assert_eq!(found(Some(21), 12), (10, 20));
        assert_eq!(found(Some(0), 0), (0, 0));
    }
}
