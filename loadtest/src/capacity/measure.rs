//! Measures one window at one rate: an open loop, with the server's counters before and after.

use super::level::Window;
use crate::arrival::{self, Arrival};
use crate::server_statistics::Reading;
use crate::target::Target;
use crate::{Error, Load, Prepared, run};
use skysail_policy::simulate::Arrivals;
use std::convert::Infallible;
use std::future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// Interval at which the server's counters are read. More often would be a load of its own.
const READ_EVERY: Duration = Duration::from_millis(40);
/// Time limit of one reading.
const READ_MAX: Duration = Duration::from_secs(2);

/// Conditions that all windows share.
#[derive(Debug)]
pub struct Conditions<'a> {
    /// Prepared request.
    pub prepared: &'a Prepared,
    /// Model and server.
    pub target: &'a Target,
    /// Most requests in flight.
    pub connections: usize,
    /// Number of sending threads.
    pub threads: usize,
    /// Duration of requests before a window that do not count.
    pub warm_up: Duration,
    /// Time after which a request without a response has failed.
    pub timeout: Duration,
    /// Latency objective.
    pub objective: Duration,
}

impl Conditions<'_> {
    /// Sends a Poisson process of a mean rate; another seed gives other times.
    ///
    /// # Errors
    /// Fails if the load cannot be sent at all.
    pub async fn poisson(
        &self,
        per_s: f64,
        duration: Duration,
        seed: u64,
    ) -> Result<Window, Error> {
        self.window(Arrivals::Poisson { per_s }, duration, seed).await
    }

    /// Sends other arrivals.
    ///
    /// # Errors
    /// Fails if the load cannot be sent at all.
    pub async fn window(
        &self,
        arrivals: Arrivals,
        duration: Duration,
        seed: u64,
    ) -> Result<Window, Error> {
        let load = Load {
            arrival: Arrival::Process { arrivals: Arc::new(arrivals), seed },
            connections: self.connections,
            threads: self.threads,
            busy_poll: false,
            window: arrival::Window { warm_up: self.warm_up, duration },
            timeout: self.timeout,
            objective: Some(self.objective),
        };
        let before = Reading::read(self.target, READ_MAX).await.ok();
        let mut runs = Vec::new();
        let report = {
            let watching = watch_runs(self.target, before.clone(), &mut runs);
            tokio::select! {
                report = run(self.prepared, &load, future::pending(), |_| {}) => report?,
                never = watching => match never {},
            }
        };
        let statistics = match before {
            Some(before) => {
                Reading::read(self.target, READ_MAX).await.ok().map(|now| now.since(&before))
            }
            None => None,
        };
        Ok(Window { report, statistics, runs })
    }
}

/// Polls the counters. Between two readings, a size that ran once gives the time of a single run.
async fn watch_runs(
    target: &Target,
    before: Option<Reading>,
    runs: &mut Vec<(u64, f64)>,
) -> Infallible {
    let Some(mut before) = before else { return future::pending().await };
    let mut tick = interval(READ_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if let Ok(now) = Reading::read(target, READ_MAX).await {
            let seen = now.since(&before).batches;
            let single = seen.iter().filter(|batch| batch.runs == 1);
            runs.extend(single.map(|batch| (batch.rows, batch.total_us())));
            before = now;
        }
    }
}
