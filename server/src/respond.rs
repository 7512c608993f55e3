//! Encodes the engine's responses for each protocol.

pub(crate) mod grpc;
pub(crate) mod http;
mod json;
pub(crate) mod v1;
