//! The slowest and the failed requests of the last minutes, as the server remembers them
//! (`GET /v2/debug/tail`).

mod table;

use crate::get::{get, in_path};
use crate::target::{Address, Failure, Protocol, Target};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::timeout;

pub use table::{Table, printable};

/// What the server remembers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tail {
    /// How far back it goes.
    pub window_s: f64,
    /// By model.
    pub models: Vec<OfModel>,
}

/// Of one version of a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OfModel {
    /// The model's name.
    pub name: String,
    /// A number or a text, as the server writes it.
    pub version: serde_json::Value,
    /// How soon it should answer, where it has an objective.
    pub objective_ms: Option<f64>,
    /// The slowest first.
    pub requests: Vec<Slow>,
}

/// One request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Slow {
    /// The caller's, or the server's own.
    pub request_id: String,
    /// How long ago it was over.
    pub ended_ms_ago: f64,
    /// How long it took.
    pub total_us: f64,
    /// `answered`, `missed`, `refused` or `failed`.
    pub outcome: String,
    /// Why it was not answered.
    pub reason: Option<String>,
    /// Why it took so long, in a word.
    pub cause: String,
    /// The same as a sentence.
    pub explanation: String,
    /// By the stage's name, as far as it came.
    pub stages_us: BTreeMap<String, Option<f64>>,
    /// The batch it ran in.
    pub batch: Option<Batch>,
    /// The batch it waited for.
    pub behind: Option<Behind>,
    /// Whatever else the server says of it.
    #[serde(flatten)]
    pub other: serde_json::Map<String, serde_json::Value>,
}

/// A batch that ran.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Batch {
    /// Counts the model's batches.
    pub number: u64,
    /// Rows in it.
    pub rows: u64,
    /// Requests in it.
    pub members: u64,
    /// How long it was expected to run.
    pub predicted_us: Option<f64>,
    /// How long it ran.
    pub ran_us: f64,
    /// Whether it was the first of its size.
    pub cold: bool,
}

/// A batch that ran before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Behind {
    /// Counts the model's batches.
    pub number: u64,
    /// Rows in it.
    pub rows: u64,
    /// How long the request waited for its end, where the server says so.
    pub waited_us: Option<f64>,
}

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no server.
    #[error("{failure}; is a server running at {address}?")]
    Unreachable {
        /// Where none is.
        address: Address,
        /// What was seen.
        failure: Failure,
    },
    /// It does not remember slow requests.
    #[error(
        "the server at {address} does not tell its slow requests: {status} at /v2/debug/tail; give the \
         URL of its HTTP or metrics port"
    )]
    Unknown {
        /// The server.
        address: Address,
        /// What it said.
        status: StatusCode,
    },
    /// It turned the question down.
    #[error("the server at {address} said {status}: {message}")]
    Refused {
        /// The server.
        address: Address,
        /// How.
        status: StatusCode,
        /// Why.
        message: String,
    },
    /// What came is something else.
    #[error("what {address} answers is no list of slow requests: {reason}")]
    Invalid {
        /// The server.
        address: Address,
        /// What is wrong.
        reason: String,
    },
}

/// Asks the server for the slow requests of a window, of one model or all.
///
/// # Errors
/// When it does not answer, or not with such a list.
pub async fn read(
    address: &Address,
    model: Option<&str>,
    window: Duration,
    limit: Duration,
) -> Result<Tail, Error> {
    let model = model.map_or(String::new(), |model| format!("model={}&", in_path(model)));
    let path = format!("/v2/debug/tail?{model}window={}s", window.as_secs().max(1));
    let answer = timeout(limit, get(address, &path)).await;
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

/// The server's words, when there are any.
fn message(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Words {
        error: String,
    }
    let Words { error } = serde_json::from_slice(body).ok()?;
    Some(printable(&error, 300))
}

/// How soon the server itself wants to answer for a model, where it says so.
pub(crate) async fn objective_ms(target: &Target, limit: Duration) -> Option<f64> {
    if !matches!(target.protocol, Protocol::Json | Protocol::Binary) {
        return None;
    }
    let window = Duration::from_secs(1);
    let tail = read(&target.address, Some(&target.model), window, limit).await.ok()?;
    tail.models.iter().find(|model| model.name == target.model)?.objective_ms
}
