//! Inputs whose requests are joined flat, and what is made for each batch of them.

use crate::tensor::DataType;
use std::collections::BTreeSet;

/// Inputs whose requests are joined flat into one batch, and what is made for each batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaggedConfig {
    /// Names of the inputs that are joined.
    pub inputs: BTreeSet<String>,
    /// Inputs of the graph that no request brings.
    pub made: Vec<MadeInput>,
    /// Outputs that are divided by the shapes of an input.
    pub scattered: Vec<ScatteredOutput>,
}

/// An input of the graph that is made from the shapes of a batch's members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeInput {
    /// Name in the graph.
    pub name: String,
    /// Contents.
    pub kind: BatchInputKind,
    /// Datatype in the graph.
    pub datatype: DataType,
    /// Input whose shapes count.
    pub source: String,
}

/// Contents of an input that is made for each batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchInputKind {
    /// Elements of each request.
    Count,
    /// Elements up to the end of each request.
    AccumulatedCount,
    /// Zero, and then the elements up to the end of each request.
    AccumulatedCountWithZero,
    /// No contents: the size is the number of elements of the largest request.
    MaxCountAsShape,
    /// Dimensions of each row, one row after the other.
    ItemShape,
    /// The same as a list.
    ItemShapeFlat,
}

/// An output that holds the elements of all requests one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScatteredOutput {
    /// Name in the graph.
    pub name: String,
    /// Input whose shapes the parts have.
    pub source: String,
}
