//! Batches of training data.

/// A batch of rows: inputs and targets.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Values for the model's first input.
    pub input: Input,
    /// Targets of its first output.
    pub targets: Targets,
}

/// Values for the model's first input, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// Dimensions; the first is the number of rows.
    pub shape: Vec<usize>,
    /// Values in row-major order.
    pub values: Values,
}

/// Values of one type.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Numbers, such as pixels.
    Float32(Vec<f32>),
    /// Indices, such as tokens.
    Int64(Vec<i64>),
}

/// Targets of a model's output.
#[derive(Debug, Clone, PartialEq)]
pub enum Targets {
    /// Class index of each row. The loss is the cross entropy of the output's softmax, or of the
    /// output itself if the graph ends with a softmax.
    Classes(Vec<u32>),
    /// Numbers, as many per row as the output has. The loss is the mean square error.
    Numbers(Vec<f32>),
}

impl Batch {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.input.shape.first().copied().unwrap_or(0)
    }
}
