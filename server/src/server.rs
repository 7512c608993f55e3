//! What every connection shares: the engine, the limits, and the settings that can be changed
//! while it runs.

use crate::admin::settings::LogSettings;
use crate::admin::trace::Trace;
use crate::body::{BodyLimits, Budget};
use crate::config::Limits;
use crate::in_flight::InFlight;
use crate::spans::{Context, Tracing};
use crate::status::Error;
use skysail_engine::Engine;
use skysail_engine::error::Reason;
use skysail_engine::observe::log_limiter::LogLimiter;
use skysail_engine::observe::statistics::Statistics;
use skysail_engine::request_record::RequestRecord;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// The server, whatever the protocol.
pub(crate) struct Server {
    engine: Engine,
    limits: Limits,
    budget: Arc<Budget>,
    in_flight: InFlight,
    stopping: AtomicBool,
    trace: Trace,
    log: LogSettings,
    tracing: Tracing,
    started: Instant,
    keeps_records: bool,
    unknown: LogLimiter,
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
            tracing: Tracing::default(),
            started: Instant::now(),
            keeps_records: true,
            unknown: LogLimiter::default(),
        }
    }

    /// The same, which keeps nothing of requests but counts unless this is set.
    pub(crate) fn with_request_records(self, keeps_records: bool) -> Self {
        Self { keeps_records, ..self }
    }

    /// The same, with a place for the protocol's trace.
    pub(crate) fn with_trace(self, trace: Trace) -> Self {
        Self { trace, ..self }
    }

    /// The same, whose requests are traced.
    pub(crate) fn with_tracing(self, tracing: Tracing) -> Self {
        Self { tracing, ..self }
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

    pub(crate) fn tracing(&self) -> &Tracing {
        &self.tracing
    }

    pub(crate) fn log(&self) -> &LogSettings {
        &self.log
    }

    /// Whether the times of requests are counted, and the slowest kept.
    pub(crate) fn keeps_records(&self) -> bool {
        self.keeps_records
    }

    /// Seconds since it was started.
    pub(crate) fn uptime_s(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    /// What lines of the log about models that do not serve go through.
    pub(crate) fn unknown_gate(&self) -> &LogLimiter {
        &self.unknown
    }

    /// Takes in a request that is over.
    pub(crate) fn finish(
        &self,
        statistics: &Statistics,
        record: &mut RequestRecord,
        trace: Option<&Context>,
    ) {
        record.find_cause();
        if self.keeps_records {
            statistics.record(record);
            self.tracing.finish(record, trace);
        }
    }

    /// Whether a version serves and its queue moves.
    pub(crate) fn is_model_ready(&self, name: &str, version: Option<u64>) -> bool {
        self.engine.lookup(name, version).is_ok_and(|model| !model.is_stalled())
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
