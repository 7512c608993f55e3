//! Settings of warm-up runs.

use crate::tensor::DataType;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A warm-up run that is made before the model is ready.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WarmUp {
    /// Name for errors.
    pub name: String,
    /// Rows of the run; 0 counts as 1.
    pub rows: usize,
    /// Number of runs; 0 counts as 1.
    pub count: usize,
    /// Data by input; inputs that are not named get zeros.
    pub inputs: BTreeMap<String, WarmUpInput>,
}

/// Data of one input of a warm-up.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WarmUpInput {
    /// Datatype that the configuration states; checked against the graph.
    #[serde(skip)]
    pub datatype: Option<DataType>,
    /// Dimensions without the batch dimension.
    pub dims: Vec<usize>,
    /// Elements of the input.
    pub data: WarmUpData,
}

/// Elements of a warm-up's input.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WarmUpData {
    /// Zeros, or empty strings.
    #[default]
    Zero,
    /// Deterministic noise.
    Random,
    /// Bytes of a file in the model's folder `warmup/`.
    File(String),
}
