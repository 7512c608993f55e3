//! Load that a run puts on a server.

use crate::arrival::{Arrival, Window};
use std::time::Duration;

/// Load on one server.
#[derive(Clone, Debug)]
pub struct Load {
    /// Rule by which requests go out.
    pub arrival: Arrival,
    /// Most requests in flight at once: connections of HTTP, streams of gRPC. Above 0.
    pub connections: usize,
    /// Number of sending threads, above 0 and at most `connections`.
    pub threads: usize,
    /// True if the threads poll instead of sleeping. This excludes wake-up cost from latencies and
    /// from the CPU time of a server on this machine. Each thread uses a whole core.
    pub busy_poll: bool,
    /// Warm-up and measurement.
    pub window: Window,
    /// Time after which a request without a response has failed.
    pub timeout: Duration,
    /// Latency objective; the report counts the responses within it.
    pub objective: Option<Duration>,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Ten seconds at a constant rate.
    pub(crate) fn load() -> Load {
        Load {
            arrival: Arrival::Constant { requests_per_s: 100.0 },
            connections: 1,
            threads: 1,
            busy_poll: false,
            window: Window { warm_up: Duration::from_secs(1), duration: Duration::from_secs(10) },
            timeout: Duration::from_secs(1),
            objective: None,
        }
    }
}
