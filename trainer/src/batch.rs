//! Examples that are learned from together.

/// Some examples: what goes into the model, and what should come out.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// For the model's first input.
    pub input: Input,
    /// What should come out of its first output.
    pub targets: Targets,
}

/// Values for the model's first input, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// Its dimensions; the first is the number of rows.
    pub shape: Vec<usize>,
    /// Its values in row-major order.
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

/// What should come out of the model.
#[derive(Debug, Clone, PartialEq)]
pub enum Targets {
    /// For each row the index of its class: the loss is the cross entropy of the softmax of the
    /// output, or of the output itself where the graph ends with a softmax.
    Classes(Vec<u32>),
    /// For each row as many numbers as the output has: the loss is the mean square error.
    Numbers(Vec<f32>),
}

impl Batch {
    /// How many examples it has.
    pub fn rows(&self) -> usize {
        self.input.shape.first().copied().unwrap_or(0)
    }
}
