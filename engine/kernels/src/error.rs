//! What can be wrong with weights, shapes and runs.

use std::fmt;

/// Why weights can not be used, or a product not be made.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// A matrix or a convolution without outputs or inputs, or with too many.
    #[error("{what} is {value}; it must be between 1 and {max}")]
    Size {
        /// Which number.
        what: &'static str,
        /// What it is.
        value: usize,
        /// What it may be at most.
        max: usize,
    },
    /// A weight outside of its matrix.
    #[error("a weight lies at output {output}, input {input} of a matrix of {outputs} x {inputs}")]
    Outside {
        /// Its output.
        output: u32,
        /// Its input.
        input: u32,
        /// The matrix's outputs.
        outputs: usize,
        /// The matrix's inputs.
        inputs: usize,
    },
    /// Two weights at one place.
    #[error("there are two weights at output {output}, input {input}")]
    Twice {
        /// Their output.
        output: usize,
        /// Their input.
        input: u32,
    },
    /// A code beyond the codebook.
    #[error("a weight has code {code}, and the codebook has {entries} entries")]
    Code {
        /// The code.
        code: u16,
        /// The codebook's length.
        entries: usize,
    },
    /// Infinity or not a number: zeros that fill gaps would not stay zeros.
    #[error("a weight is {value}; sparse weights must be finite, keep this tensor dense")]
    NotFinite {
        /// The weight.
        value: f32,
    },
    /// A slice of the wrong length.
    #[error("{what} has {actual} values; {expected} are needed")]
    Length {
        /// Which slice.
        what: &'static str,
        /// What it has.
        actual: usize,
        /// What it must have.
        expected: Count,
    },
    /// A convolution that does not fit its weights or its input.
    #[error("the convolution can not be: {0}")]
    Convolution(String),
    /// A node asks for weights that are not there.
    #[error("there are no sparse weights named '{0}' for this operator")]
    Missing(String),
    /// A node has an activation that the operators do not.
    #[error("there is no activation '{0}'; there are Relu, LeakyRelu and Clip")]
    Activation(String),
    /// ONNX Runtime refused.
    #[error("ONNX Runtime: {0}")]
    Runtime(#[from] ort::Error),
}

/// How many values a slice must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// So many.
    Exactly(usize),
    /// So many times a whole number.
    MultipleOf(usize),
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(count) => write!(f, "{count}"),
            Self::MultipleOf(count) => write!(f, "a multiple of {count}"),
        }
    }
}

/// Checks that a slice has as many values as its shape says.
pub(crate) fn check_length(
    what: &'static str,
    actual: usize,
    expected: usize,
) -> Result<(), KernelError> {
    if actual == expected {
        return Ok(());
    }
    Err(KernelError::Length { what, actual, expected: Count::Exactly(expected) })
}
