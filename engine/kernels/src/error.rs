//! Errors of weights, shapes and runs.

use std::fmt;

/// Error of weights or of a run.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// A size is zero or too large.
    #[error("{what} is {value}; it must be between 1 and {max}")]
    Size {
        /// Name of the size.
        what: &'static str,
        /// Value of the size.
        value: usize,
        /// Largest allowed value.
        max: usize,
    },
    /// A weight is outside of its matrix.
    #[error("a weight lies at output {output}, input {input} of a matrix of {outputs} x {inputs}")]
    Outside {
        /// Output of the weight.
        output: u32,
        /// Input of the weight.
        input: u32,
        /// Outputs of the matrix.
        outputs: usize,
        /// Inputs of the matrix.
        inputs: usize,
    },
    /// Two weights have the same output and input.
    #[error("there are two weights at output {output}, input {input}")]
    Duplicate {
        /// Output of the weights.
        output: usize,
        /// Input of the weights.
        input: u32,
    },
    /// A code is beyond the codebook.
    #[error("a weight has code {code}, and the codebook has {entries} entries")]
    Code {
        /// Code of the weight.
        code: u16,
        /// Length of the codebook.
        entries: usize,
    },
    /// A weight is infinite or not a number: padding zeros would not stay zeros.
    #[error("a weight is {value}; sparse weights must be finite, keep this tensor dense")]
    NotFinite {
        /// Value of the weight.
        value: f32,
    },
    /// A slice has the wrong length.
    #[error("{what} has {actual} values; {expected} are needed")]
    Length {
        /// Name of the slice.
        what: &'static str,
        /// Length of the slice.
        actual: usize,
        /// Required length.
        expected: Count,
    },
    /// A convolution does not fit its weights or its input.
    #[error("the convolution can not be: {0}")]
    Convolution(String),
    /// A node names unknown weights.
    #[error("there are no sparse weights named '{0}' for this operator")]
    Missing(String),
    /// A node names an unknown activation.
    #[error("there is no activation '{0}'; there are Relu, LeakyRelu and Clip")]
    Activation(String),
    /// ONNX Runtime reported an error.
    #[error("ONNX Runtime: {0}")]
    Runtime(#[from] ort::Error),
}

/// Required length of a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Exactly this length.
    Exactly(usize),
    /// A multiple of this length.
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

/// Checks that a size is between 1 and `max`.
pub(crate) fn check_size(what: &'static str, value: usize, max: usize) -> Result<(), KernelError> {
    if (1..=max).contains(&value) {
        return Ok(());
    }
    Err(KernelError::Size { what, value, max })
}

/// Checks the slices of a product of rows and a matrix; returns the number of rows.
pub(crate) fn check_product(
    (x, inputs): (&[f32], usize),
    (y, outputs): (&[f32], usize),
    bias: Option<&[f32]>,
) -> Result<usize, KernelError> {
    if !x.len().is_multiple_of(inputs) {
        let expected = Count::MultipleOf(inputs);
        return Err(KernelError::Length { what: "the input", actual: x.len(), expected });
    }
    let rows = x.len() / inputs;
    // No slice is as long as a product that overflows.
    check_length("the output", y.len(), rows.saturating_mul(outputs))?;
    check_bias(bias, outputs)?;
    Ok(rows)
}

/// Checks the length of an optional bias.
pub(crate) fn check_bias(bias: Option<&[f32]>, outputs: usize) -> Result<(), KernelError> {
    bias.map_or(Ok(()), |bias| check_length("the bias", bias.len(), outputs))
}

/// Checks the length of a slice.
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
