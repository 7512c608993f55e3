//! The metrics as Prometheus reads them, in the form that it asks for.

mod accept;
mod collect;
mod family;
mod open_metrics;
mod protobuf;
mod text;

use crate::server::Server;
use accept::Form;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, VARY};

/// The metrics as they are now, as whoever asks wants them; and what that is.
pub(crate) fn page(server: &Server, headers: &HeaderMap) -> (Vec<u8>, HeaderMap) {
    let families = collect::families(server);
    let (body, content_type) = match Form::accepted(headers.get_all(ACCEPT)) {
        Form::Text => (text::write(&families).into_bytes(), text::CONTENT_TYPE),
        Form::OpenMetrics => {
            (open_metrics::write(&families).into_bytes(), open_metrics::CONTENT_TYPE)
        }
        Form::Protobuf => (protobuf::write(&families), protobuf::CONTENT_TYPE),
    };
    let mut headers = HeaderMap::with_capacity(2);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(VARY, HeaderValue::from_static("accept"));
    (body, headers)
}
