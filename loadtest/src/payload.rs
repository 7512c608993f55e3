//! Payload of a request: tensors, either random ones that fit the model's metadata or read from a
//! file.

mod elements;
mod encode;
mod file;
mod random;

pub use encode::Binary;
pub use file::from_file;
pub use random::{Random, random};
pub use skysail_protocol::DataType;

use serde_json::Value;
use skysail_protocol::json::{ModelMetadata, Parameters, RequestedOutput};
use std::path::PathBuf;

/// Most bytes of elements of a request.
pub const BYTES_MAX: usize = 256 << 20;

/// Source of a request.
#[derive(Clone, Debug)]
pub enum Source {
    /// Random elements.
    Random(Random),
    /// JSON file.
    File(PathBuf),
}

impl Source {
    /// Makes or reads the request for a model.
    ///
    /// # Errors
    /// The same as those of [`random`] and [`from_file`].
    pub fn payload(&self, model: &ModelMetadata) -> Result<Payload, Error> {
        match self {
            Self::Random(how) => random(model, how),
            Self::File(path) => from_file(path),
        }
    }
}

/// Request, ready to be encoded for any protocol.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Payload {
    /// Identifier of the request.
    pub id: Option<String>,
    /// Parameters of the request.
    pub parameters: Parameters,
    /// Inputs with their elements.
    pub inputs: Vec<Input>,
    /// Requested outputs; none means all of them.
    pub outputs: Vec<RequestedOutput>,
}

impl Payload {
    /// Rows of the request: the size of the first variable first dimension of an input; 1 without
    /// any.
    pub fn rows(&self, model: &ModelMetadata) -> usize {
        let varying = model.inputs.iter().filter(|tensor| tensor.shape.first() == Some(&-1));
        varying
            .filter_map(|tensor| self.inputs.iter().find(|input| input.name == tensor.name))
            .find_map(|input| usize::try_from(*input.shape.first()?).ok())
            .unwrap_or(1)
    }
}

/// Tensor of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Name of the tensor.
    pub name: String,
    /// Type of the elements.
    pub datatype: DataType,
    /// Dimensions, none negative.
    pub shape: Vec<i64>,
    /// Parameters of the tensor.
    pub parameters: Parameters,
    /// Elements as the protocol's raw bytes: little-endian, row by row.
    pub raw: Vec<u8>,
}

/// Reason why there is nothing to send.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The model has an input of a type that the protocol does not know.
    #[error("input `{input}` has the unknown datatype `{datatype}`")]
    Datatype {
        /// Name of the input.
        input: String,
        /// Name of the unknown type.
        datatype: String,
    },
    /// A shape was given for an input that the model does not have.
    #[error("the model has no input `{name}`; it has {}", known.join(", "))]
    NoSuchInput {
        /// Name that was given.
        name: String,
        /// Names of the model's inputs.
        known: Vec<String>,
    },
    /// A shape was given that the model does not accept.
    #[error("input `{input}` has the shape {expected:?} (-1 is any size), not {given:?}")]
    Shape {
        /// Name of the input.
        input: String,
        /// Shape in the metadata.
        expected: Vec<i64>,
        /// Shape that was given.
        given: Vec<i64>,
    },
    /// The model does not accept several rows in a request.
    #[error("no input's first dimension may vary, so that a request cannot have {rows} rows")]
    Rows {
        /// Rows that were asked for.
        rows: usize,
    },
    /// The tensors are larger than a request may be.
    #[error("input `{input}` makes the request larger than {} MiB", BYTES_MAX >> 20)]
    TooLarge {
        /// Name of the input.
        input: String,
    },
    /// The file cannot be read.
    #[error("cannot read {path}: {reason}")]
    File {
        /// Path of the file.
        path: String,
        /// Description of the error.
        reason: String,
    },
    /// A tensor of the file contradicts itself.
    #[error("input `{input}`: {reason}")]
    Elements {
        /// Name of the input.
        input: String,
        /// Description of the error.
        reason: String,
    },
    /// JSON has no numbers of this type.
    #[error(
        "input `{input}` is {datatype}, which JSON cannot carry: send it with another protocol"
    )]
    NotJson {
        /// Name of the input.
        input: String,
        /// Type of the elements.
        datatype: DataType,
    },
    /// The request cannot be written as JSON, such as BYTES that are no text.
    #[error("cannot write the request as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A parameter is no single value, as gRPC requires.
    #[error("parameter `{name}` is {value}, and gRPC takes a text, a number or a bool")]
    Parameter {
        /// Name of the parameter.
        name: String,
        /// Value of the parameter.
        value: Value,
    },
}

/// Number of elements of a shape; `None` for a negative dimension or an overflow.
fn element_count(shape: &[i64]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |product, &dimension| {
        product.checked_mul(usize::try_from(dimension).ok()?)
    })
}
