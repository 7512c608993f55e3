//! What every connection shares: the engine, the limits, and the settings that can be changed
//! while it runs.

use crate::admin::settings::LogSettings;
use crate::admin::trace::Trace;
use crate::body::{BodyLimits, Budget};
use crate::config::Limits;
use crate::in_flight::InFlight;
use crate::status::Error;
use skysail_engine::Engine;
use skysail_engine::error::Reason;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The server, whatever the protocol.
pub(crate) struct Server {
    engine: Engine,
    limits: Limits,
    budget: Arc<Budget>,
    in_flight: InFlight,
    stopping: AtomicBool,
    trace: Trace,
    log: LogSettings,
}

impl Server {
    pub(crate) fn new(engine: Engine, limits: Limits, log: LogSettings) -> Self {
        Self {
            engine,
            budget: Budget::new(limits.held_bytes_max),
            in_flight: InFlight::new(limits.requests_max),
            limits,
            stopping: AtomicBool::new(false),
            trace: Trace::default(),
            log,
        }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn body_limits(&self) -> BodyLimits {
        BodyLimits { bytes_max: self.limits.body_bytes_max, pause_ms: self.limits.body_timeout_ms }
    }

    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    pub(crate) fn in_flight(&self) -> &InFlight {
        &self.in_flight
    }

    pub(crate) fn trace(&self) -> &Trace {
        &self.trace
    }

    pub(crate) fn log(&self) -> &LogSettings {
        &self.log
    }

    /// Whether new requests are welcome.
    pub(crate) fn is_ready(&self) -> bool {
        self.engine.repository().is_started() && !self.stopping.load(Ordering::Relaxed)
    }

    /// Says to everyone who asks that the server is about to end.
    pub(crate) fn begin_to_stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Under which reason a failed request is counted.
    pub(crate) fn reason(&self, error: &Error) -> Reason {
        match error {
            Error::Engine(error) => error.reason(),
            Error::BodyTooSlow { .. } | Error::BodyBroken(_) | Error::DeadlinePassed { .. } => {
                Reason::Cancelled
            }
            Error::Repository(_) => Reason::Other,
            _ => Reason::Rejected,
        }
    }
}
