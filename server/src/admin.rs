//! Responses to all requests but inference: health, metadata, configuration, statistics, repository
//! and settings.
//!
//! They are gRPC messages; the module `json` converts them for HTTP.

pub(crate) mod config;
pub(crate) mod json;
pub(crate) mod metadata;
pub(crate) mod repository;
pub(crate) mod log_settings;
pub(crate) mod shared_memory;
pub(crate) mod statistics;
pub(crate) mod trace;
