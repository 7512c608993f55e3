//! Slowest and failed requests of the last minutes, as the server keeps them (`GET
//! /v2/debug/tail`).

mod query;
mod show;

pub(crate) use query::objective_ms;
pub use query::{Error, read};
pub use show::{TailTable, printable};

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Slow requests of a server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tail {
    /// Time span, in seconds.
    pub window_s: f64,
    /// Slow requests by model.
    pub models: Vec<ModelTail>,
}

/// Slow requests of one version of a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelTail {
    /// Name of the model.
    pub name: String,
    /// Version, a number or a text.
    pub version: serde_json::Value,
    /// Latency objective of the model, if any.
    pub objective_ms: Option<f64>,
    /// Slow requests, the slowest first.
    pub requests: Vec<SlowRequest>,
}

/// Slow or failed request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SlowRequest {
    /// Identifier, from the client or the server.
    pub request_id: String,
    /// Time since its end.
    pub ended_ms_ago: f64,
    /// Latency.
    pub total_us: f64,
    /// Outcome, such as `answered` or `failed`.
    pub outcome: String,
    /// Reason why it was not answered.
    pub reason: Option<String>,
    /// Cause of its latency, in a word.
    pub cause: String,
    /// Cause of its latency, as a sentence.
    pub explanation: String,
    /// Time by stage, as far as the request got.
    pub stages_us: BTreeMap<String, Option<f64>>,
    /// Batch that it ran in.
    pub batch: Option<Batch>,
    /// Batch that it waited for.
    pub behind: Option<PrecedingBatch>,
    /// Further fields of the server.
    #[serde(flatten)]
    pub other: serde_json::Map<String, serde_json::Value>,
}

/// Batch that ran.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Batch {
    /// Number of the batch within the model.
    pub number: u64,
    /// Rows of the batch.
    pub rows: u64,
    /// Requests of the batch.
    pub members: u64,
    /// Predicted run time.
    pub predicted_us: Option<f64>,
    /// Actual run time.
    pub ran_us: f64,
    /// True if it was the first batch of its size.
    pub cold: bool,
}

/// Batch that ran before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PrecedingBatch {
    /// Number of the batch within the model.
    pub number: u64,
    /// Rows of the batch.
    pub rows: u64,
    /// Time that the request waited for its end, if known.
    pub waited_us: Option<f64>,
}
