//! Settings for the layers of a package.

use serde::Deserialize;
use std::collections::BTreeMap;

/// Execution of a package's layers. An ONNX file runs unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CompressedConfig {
    /// Choice for all layers.
    pub execution: Choice,
    /// Choice for single layers, by the names of their weights.
    pub layers: BTreeMap<String, Choice>,
    /// Choice for the layers that are packed as integers of 8 bits.
    pub int8: Int8Choice,
}

/// Choice between integer arithmetic and floats for layers of 8 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Int8Choice {
    /// The engine decides on this machine: integers where they are faster, and as exact as packed.
    #[default]
    Auto,
    /// The layers run on integers, as they are packed.
    Always,
    /// The layers run on the floats that their integers mean.
    Never,
}

/// Choice between dense and sparse execution of a layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    /// The engine decides by measuring on this machine.
    #[default]
    Auto,
    /// The layer runs with all weights, including zeros.
    Dense,
    /// The layer runs with its non-zero weights.
    Sparse,
}
