//! Reports about the server and its requests: records, log lines, metrics and traces.

pub(crate) mod debug;
pub(crate) mod metrics;
pub(crate) mod process_memory;
pub(crate) mod request_log;
pub(crate) mod tracing;
pub(crate) mod tracker;
