//! Query of the slow requests.

use super::{Tail, printable};
use crate::target::http::get;
use crate::target::{Address, Failure, PAGE_BYTES_MAX, Target, percent_encoded};
use http::StatusCode;
use serde::Deserialize;
use std::time::Duration;
use tokio::time::timeout;

/// Reason why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No server listens.
    #[error("{failure}; is a server running at {address}?")]
    Unreachable {
        /// Address without a server.
        address: Address,
        /// Failure of the connection.
        failure: Failure,
    },
    /// The server does not keep slow requests.
    #[error(
        "the server at {address} does not report slow requests: {status} at /v2/debug/tail; give the \
         URL of its HTTP or metrics port"
    )]
    Unknown {
        /// Address of the server.
        address: Address,
        /// Status of the response.
        status: StatusCode,
    },
    /// The server rejected the query.
    #[error("the server at {address} said {status}: {message}")]
    Refused {
        /// Address of the server.
        address: Address,
        /// Status of the response.
        status: StatusCode,
        /// Message of the response.
        message: String,
    },
    /// The response is no list of slow requests.
    #[error("the response of {address} is not a list of slow requests: {reason}")]
    Invalid {
        /// Address of the server.
        address: Address,
        /// Description of the error.
        reason: String,
    },
}

/// Queries the slow requests of a time span, of one model or all.
///
/// # Errors
/// Fails if the server does not answer with such a list.
pub async fn read(
    address: &Address,
    model: Option<&str>,
    window: Duration,
    limit: Duration,
) -> Result<Tail, Error> {
    let model = model.map_or(String::new(), |model| format!("model={}&", percent_encoded(model)));
    let path = format!("/v2/debug/tail?{model}window={}s", window.as_secs().max(1));
    let answer = timeout(limit, get(address, &path, PAGE_BYTES_MAX)).await;
    let (status, body) = answer
        .unwrap_or(Err(Failure::Timeout(limit)))
        .map_err(|failure| Error::Unreachable { address: address.clone(), failure })?;
    let address = address.clone();
    if status != StatusCode::OK {
        return Err(match message(&body) {
            Some(message) => Error::Refused { address, status, message },
            None => Error::Unknown { address, status },
        });
    }
    let invalid = |error: serde_json::Error| Error::Invalid { address, reason: error.to_string() };
    serde_json::from_slice(&body).map_err(invalid)
}

/// Error message of a response, if any.
fn message(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Words {
        error: String,
    }
    let Words { error } = serde_json::from_slice(body).ok()?;
    Some(printable(&error, 300))
}

/// Latency objective of the server itself for a model, if known.
pub(crate) async fn objective_ms(target: &Target, limit: Duration) -> Option<f64> {
    if !target.protocol.is_http() {
        return None;
    }
    let window = Duration::from_secs(1);
    let tail = read(&target.address, Some(&target.model), window, limit).await.ok()?;
    tail.models.iter().find(|model| model.name == target.model)?.objective_ms
}
