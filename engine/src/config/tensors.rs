//! Inputs and outputs that a configuration declares.

use crate::tensor::DataType;
use std::collections::BTreeSet;

/// An input or output that the configuration declares; checked against the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedTensor {
    /// Name of the input or output.
    pub name: String,
    /// Declared datatype.
    pub datatype: Option<DataType>,
    /// Declared dimensions without the batch dimension; -1 for any size.
    pub dims: Option<Vec<i64>>,
    /// Shape in the graph without the batch dimension, if that is another than the dimensions.
    pub reshape: Option<Vec<i64>>,
    /// True if a request may leave it out.
    pub optional: bool,
    /// True if requests of unlike shapes are joined flat.
    pub ragged: bool,
}

/// Inputs whose requests are joined flat into one batch, and what is made for each batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaggedConfig {
    /// Names of the inputs that are joined.
    pub inputs: BTreeSet<String>,
    /// Inputs of the graph that no request brings.
    pub derived: Vec<DerivedInput>,
    /// Outputs that are cut by the sizes of an input.
    pub scattered: Vec<ScatteredOutput>,
}

/// An input of the graph that is made from the shapes of a batch's members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DerivedInput {
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
