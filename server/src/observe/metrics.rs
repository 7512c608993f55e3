//! The metrics for Prometheus, in the format that it negotiates.

mod collect;
mod family;
mod format;
mod protobuf;
mod text;

use crate::server::Server;
use format::Format;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, VARY};

/// Renders the metrics in the negotiated format. Returns the body and its headers.
pub(crate) fn page(server: &Server, headers: &HeaderMap) -> (Vec<u8>, HeaderMap) {
    let families = collect::families(server);
    let (body, content_type) = match Format::accepted(headers.get_all(ACCEPT)) {
        Format::Text(dialect) => (dialect.write(&families).into_bytes(), dialect.content_type()),
        Format::Protobuf => (protobuf::write(&families), protobuf::CONTENT_TYPE),
    };
    let mut headers = HeaderMap::with_capacity(2);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(VARY, HeaderValue::from_static("accept"));
    (body, headers)
}
