//! What a model's owner decides of the layers of a package.

use serde::Deserialize;
use std::collections::BTreeMap;

/// How the layers of a package run. An ONNX file runs as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CompressedConfig {
    /// For all layers.
    pub execution: Choice,
    /// For some, by the names of their weights.
    pub layers: BTreeMap<String, Choice>,
}

/// Who decides how a layer runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    /// The engine, by measuring on this machine.
    #[default]
    Auto,
    /// Its owner: with all weights, zeros too.
    Dense,
    /// Its owner: with the weights that are not zero.
    Sparse,
}
