//! One window at one rate: an open loop of requests that are independent of each other, and what
//! the server counted meanwhile.

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

/// How often the server's counters are read during a window. More would be a load of its own.
const READ_EVERY: Duration = Duration::from_millis(40);
/// What a reading may take.
const READ_MAX: Duration = Duration::from_secs(2);

/// What stays the same in all windows.
#[derive(Debug)]
pub struct Conditions<'a> {
    /// The request.
    pub prepared: &'a Prepared,
    /// Where it goes.
    pub target: &'a Target,
    /// Requests under way at once, at most.
    pub connections: usize,
    /// Threads that send.
    pub threads: usize,
    /// Before a window: requests that do not count.
    pub warm_up: Duration,
    /// When a request without an answer has failed.
    pub timeout: Duration,
    /// How soon an answer should be there.
    pub objective: Duration,
}

impl Conditions<'_> {
    /// Sends requests that are independent of each other at a mean rate; another seed sends them
    /// at other times.
    ///
    /// # Errors
    /// When the load cannot be sent at all.
    pub async fn poisson(
        &self,
        per_s: f64,
        duration: Duration,
        seed: u64,
    ) -> Result<Window, Error> {
        self.window(Arrivals::Poisson { per_s }, duration, seed).await
    }

    /// The same with other arrivals.
    ///
    /// # Errors
    /// When the load cannot be sent at all.
    pub async fn window(
        &self,
        arrivals: Arrivals,
        duration: Duration,
        seed: u64,
    ) -> Result<Window, Error> {
        let load = Load {
            arrival: Arrival::Drawn { arrivals: Arc::new(arrivals), seed },
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

/// Reads the counters again and again; where a size ran once between two readings, that is one
/// run's time.
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
            runs.extend(single.map(|batch| (batch.rows, batch.taken_us())));
            before = now;
        }
    }
}
