//! The engine's response becomes a protocol's bytes.

pub(crate) mod grpc;
pub(crate) mod http;
mod json;
