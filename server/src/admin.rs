//! Everything that is no inference: health, metadata, configuration, statistics, the repository
//! and settings. The gRPC messages are the answers; JSON is their image (`json`).

pub(crate) mod config;
pub(crate) mod json;
pub(crate) mod metadata;
pub(crate) mod repository;
pub(crate) mod settings;
pub(crate) mod statistics;
pub(crate) mod trace;
