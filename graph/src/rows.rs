//! Whether the rows of a batch are independent: a proof on the graph, without running anything.

use std::fmt;

use crate::Graph;

/// Whether the answer for a row is the same, whichever rows share its run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Independence {
    /// Proven: each row of each output follows from the same row of the inputs alone.
    Independent,
    /// Rows touch each other.
    Dependent(RowCause),
    /// The proof does not go through, and nothing says that rows touch each other.
    Unknown(RowCause),
}

/// Where a proof of independent rows ends, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowCause {
    /// The node, such as `ReduceMax 'scale/max'`; `None` where an input or output is the reason.
    pub node: Option<String>,
    /// The reason in words, such as `it reduces over rows`.
    pub problem: String,
}

impl fmt::Display for RowCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.node {
            Some(node) => write!(f, "{node}: {}", self.problem),
            None => f.write_str(&self.problem),
        }
    }
}

/// The proven dimensions of an output, in terms of those of the inputs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OutputShape {
    dims: Option<Vec<u64>>,
}

impl OutputShape {
    /// The output's dimensions where the graph's inputs, in the order of [`Graph::inputs`], have
    /// the dimensions `inputs`; `None` where they are not proven.
    pub fn sizes(&self, inputs: &[&[usize]]) -> Option<Vec<usize>> {
        let _ = inputs;
        self.dims.as_ref()?.iter().map(|size| usize::try_from(*size).ok()).collect()
    }
}

impl Graph<'_> {
    /// Proves that rows, the first dimension of every input, are independent; or says what
    /// stands against it.
    pub fn row_independence(&self) -> Independence {
        let problem = "not analysed".to_owned();
        Independence::Unknown(RowCause { node: None, problem })
    }

    /// The dimensions of each output as far as they are proven, in the order of
    /// [`outputs`](Self::outputs). With `same_rows`, all inputs have the same first dimension.
    pub fn output_shapes(&self, same_rows: bool) -> Vec<OutputShape> {
        let _ = same_rows;
        self.outputs().iter().map(|_| OutputShape::default()).collect()
    }
}
