//! Inputs and outputs that a configuration declares.

use crate::tensor::DataType;

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
}
