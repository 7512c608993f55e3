//! State that all connections share: the engine, the limits, and settings that can change.

use crate::admin::log_settings::LogSettings;
use crate::admin::trace::Trace;
use crate::body::BodyLimits;
use crate::config::{Limits, NonFinite};
use crate::http::Cors;
use crate::in_flight::InFlight;
use crate::memory_budget::MemoryBudget;
use crate::observe::tracing::{Context, Tracing};
use crate::shared_memory::SharedMemory;
use crate::status::Error;
use crate::stores::Stores;
use skysail_engine::Engine;
use skysail_engine::error::Reason;
use skysail_engine::observe::log_limiter::LogLimiter;
use skysail_engine::observe::statistics::Statistics;
use skysail_engine::request_record::RequestRecord;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The server, independent of protocols.
pub(crate) struct Server {
    engine: Engine,
    limits: Limits,
    budget: Arc<MemoryBudget>,
    in_flight: InFlight,
    shared_memory: SharedMemory,
    stopping: AtomicBool,
    trace: Trace,
    log: LogSettings,
    stores: Option<Stores>,
    tracing: Tracing,
    started: Instant,
    keeps_request_records: bool,
    unknown_model: LogLimiter,
    without_model: AtomicU64,
    cors: Cors,
    non_finite: NonFinite,
}

impl Server {
    pub(crate) fn new(engine: Engine, limits: Limits, log: LogSettings) -> Self {
        Self {
            engine,
            budget: MemoryBudget::new(limits.in_flight_bytes_max),
            in_flight: InFlight::new(limits.requests_max),
            limits,
            shared_memory: SharedMemory::default(),
            stopping: AtomicBool::new(false),
            trace: Trace::default(),
            log,
            tracing: Tracing::default(),
            stores: None,
            started: Instant::now(),
            keeps_request_records: true,
            unknown_model: LogLimiter::default(),
            without_model: AtomicU64::new(0),
            cors: Cors::default(),
            non_finite: NonFinite::default(),
        }
    }

    /// Turns request records on or off. Without them, only counters are kept.
    pub(crate) fn with_request_records(self, keeps_request_records: bool) -> Self {
        Self { keeps_request_records, ..self }
    }

    /// Sets the shared memory that clients may use.
    pub(crate) fn with_shared_memory(self, shared_memory: SharedMemory) -> Self {
        Self { shared_memory, ..self }
    }

    /// Sets the origins of web pages that may call the HTTP API.
    pub(crate) fn with_cors(self, cors: Cors) -> Self {
        Self { cors, ..self }
    }

    /// Sets the notation of NaN and infinities in JSON.
    pub(crate) fn with_non_finite(self, non_finite: NonFinite) -> Self {
        Self { non_finite, ..self }
    }

    /// Sets the protocol's trace.
    pub(crate) fn with_trace(self, trace: Trace) -> Self {
        Self { trace, ..self }
    }

    /// Sets the stores that models come from.
    pub(crate) fn with_stores(self, stores: Stores) -> Self {
        Self { stores: Some(stores), ..self }
    }

    /// Stores that models come from.
    pub(crate) fn stores(&self) -> Option<&Stores> {
        self.stores.as_ref()
    }

    /// Sets the tracing of requests.
    pub(crate) fn with_tracing(self, tracing: Tracing) -> Self {
        Self { tracing, ..self }
    }

    /// Origins of web pages that may call the HTTP API.
    pub(crate) fn cors(&self) -> &Cors {
        &self.cors
    }

    /// Notation of NaN and infinities in JSON.
    pub(crate) fn non_finite(&self) -> NonFinite {
        self.non_finite
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn body_limits(&self) -> BodyLimits {
        BodyLimits { bytes_max: self.limits.body_bytes_max, pause_ms: self.limits.body_timeout_ms }
    }

    /// Limits of a request to load a model by name, which may bring its files.
    pub(crate) fn load_limits(&self) -> BodyLimits {
        BodyLimits { bytes_max: self.limits.load_bytes_max, ..self.body_limits() }
    }

    /// Time that requests have once the server stops.
    pub(crate) fn stop_timeout(&self) -> Duration {
        Duration::from_millis(self.limits.stop_timeout_ms)
    }

    pub(crate) fn budget(&self) -> &Arc<MemoryBudget> {
        &self.budget
    }

    pub(crate) fn in_flight(&self) -> &InFlight {
        &self.in_flight
    }

    pub(crate) fn shared_memory(&self) -> &SharedMemory {
        &self.shared_memory
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

    /// True if times of requests are counted, and the slowest kept.
    pub(crate) fn keeps_request_records(&self) -> bool {
        self.keeps_request_records
    }

    /// Seconds since the start.
    pub(crate) fn uptime_s(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    /// Rate limit of log lines about models that do not serve.
    pub(crate) fn unknown_model_limiter(&self) -> &LogLimiter {
        &self.unknown_model
    }

    /// Counts a request whose model or version does not serve.
    pub(crate) fn count_without_model(&self) {
        self.without_model.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests whose model or version did not serve.
    pub(crate) fn without_model(&self) -> u64 {
        self.without_model.load(Ordering::Relaxed)
    }

    /// Records and traces a finished request.
    pub(crate) fn finish(
        &self,
        statistics: &Statistics,
        record: &mut RequestRecord,
        trace: Option<&Context>,
    ) {
        record.find_cause();
        if self.keeps_request_records {
            statistics.record(record);
            self.tracing.finish(record, trace);
        }
    }

    /// True if a version serves and its queue makes progress.
    pub(crate) fn is_model_ready(&self, name: &str, version: Option<u64>) -> bool {
        self.engine.lookup(name, version).is_ok_and(|model| !model.is_stalled())
    }

    /// Checks that the server goes on and everything serves that should.
    ///
    /// # Errors
    /// The reason why the server is not ready.
    pub(crate) fn readiness(&self) -> Result<(), String> {
        if self.stopping.load(Ordering::Relaxed) {
            return Err("the server is stopping".into());
        }
        let readiness = self.engine.repository().readiness();
        if readiness.is_ready() { Ok(()) } else { Err(readiness.to_string()) }
    }

    /// True if the server goes on and everything serves that should.
    pub(crate) fn is_ready(&self) -> bool {
        self.readiness().is_ok()
    }

    /// Makes the server report that it is not ready, as it is about to stop, and ends all loads.
    /// What waits for a fuller batch runs at once.
    pub(crate) fn begin_to_stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.engine.repository().begin_to_stop();
    }

    /// Reason under which a failed request is counted.
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
