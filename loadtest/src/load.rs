//! The load that a run puts on a server.

use crate::arrival::{Arrival, Window};
use std::time::Duration;

/// A load on one server.
#[derive(Clone, Debug)]
pub struct Load {
    /// When requests go out.
    pub arrival: Arrival,
    /// The most requests under way at once: connections of HTTP, streams of gRPC. Above 0.
    pub connections: usize,
    /// Threads that send, above 0 and at most `connections`.
    pub threads: usize,
    /// True if the threads poll instead of sleeping. This excludes wake-up cost from latencies and
    /// from the CPU time of a server on this machine; each thread takes a whole core.
    pub busy_poll: bool,
    /// How long, and how much of it counts.
    pub window: Window,
    /// A request without an answer after this time has failed.
    pub timeout: Duration,
    /// An answer within this time is in time; the report counts them.
    pub objective: Option<Duration>,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

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
}
