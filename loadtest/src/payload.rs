//! What is sent: a request's tensors, made up from the model's metadata or read from a file.

mod datatype;
mod elements;
mod encode;
mod file;
mod random;

pub use datatype::Datatype;
pub use encode::Binary;
pub use file::from_file;
pub use random::{Random, random};

use serde_json::Value;
use skysail_protocol::json::{ModelMetadata, Parameters, RequestedOutput};
use std::path::PathBuf;

/// The most bytes of elements that a request may have.
pub const BYTES_MAX: usize = 256 << 20;

/// Where a request comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// It is made up.
    Random(Random),
    /// It is read from a file.
    File(PathBuf),
}

impl Source {
    /// Makes or reads the request for a model.
    ///
    /// # Errors
    /// As [`random`] and [`from_file`].
    pub fn payload(&self, model: &ModelMetadata) -> Result<Payload, Error> {
        match self {
            Self::Random(how) => random(model, how),
            Self::File(path) => from_file(path),
        }
    }
}

/// A request, ready to be encoded for any protocol.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Payload {
    /// The request's id.
    pub id: Option<String>,
    /// The request's parameters.
    pub parameters: Parameters,
    /// The inputs with their elements.
    pub inputs: Vec<Input>,
    /// The outputs that are wanted; none means all of them.
    pub outputs: Vec<RequestedOutput>,
}

impl Payload {
    /// Rows of the request: the size of an input's first dimension that may vary; 1 without any.
    pub fn rows(&self, model: &ModelMetadata) -> usize {
        let varying = model.inputs.iter().filter(|tensor| tensor.shape.first() == Some(&-1));
        varying
            .filter_map(|tensor| self.inputs.iter().find(|input| input.name == tensor.name))
            .find_map(|input| usize::try_from(*input.shape.first()?).ok())
            .unwrap_or(1)
    }
}

/// One tensor of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// The tensor's name.
    pub name: String,
    /// The type of its elements.
    pub datatype: Datatype,
    /// Its dimensions, none negative.
    pub shape: Vec<i64>,
    /// The tensor's parameters.
    pub parameters: Parameters,
    /// Its elements as the protocol's raw bytes: little-endian, row by row.
    pub raw: Vec<u8>,
}

/// Why there is nothing to send.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The model has an input of a type that the protocol does not know.
    #[error("input `{input}` has the unknown datatype `{datatype}`")]
    Datatype {
        /// The input's name.
        input: String,
        /// What stands in place of a datatype.
        datatype: String,
    },
    /// A shape was given for an input that the model does not have.
    #[error("the model has no input `{name}`; it has {}", known.join(", "))]
    NoSuchInput {
        /// The name that was given.
        name: String,
        /// The inputs' names.
        known: Vec<String>,
    },
    /// A shape was given that the model does not take.
    #[error("input `{input}` takes the shape {expected:?} (-1 is any size), not {given:?}")]
    Shape {
        /// The input's name.
        input: String,
        /// Its shape in the metadata.
        expected: Vec<i64>,
        /// The shape that was given.
        given: Vec<i64>,
    },
    /// The model cannot take several rows a request.
    #[error("no input's first dimension may vary, so that a request cannot have {rows} rows")]
    Rows {
        /// The rows that were asked for.
        rows: usize,
    },
    /// The tensors are larger than a request may be.
    #[error("input `{input}` makes the request larger than {} MiB", BYTES_MAX >> 20)]
    TooLarge {
        /// The input's name.
        input: String,
    },
    /// The file with the request cannot be read.
    #[error("cannot read {path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file's tensor is not as it says itself.
    #[error("input `{input}`: {reason}")]
    Elements {
        /// The input's name.
        input: String,
        /// What is wrong.
        reason: String,
    },
    /// JSON has no numbers of this type.
    #[error(
        "input `{input}` is {datatype}, which JSON cannot carry: send it with another protocol"
    )]
    NotJson {
        /// The input's name.
        input: String,
        /// The type of its elements.
        datatype: Datatype,
    },
    /// The request cannot be written as JSON: BYTES that are no text, for example.
    #[error("cannot write the request as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// gRPC's parameters are single values.
    #[error("parameter `{name}` is {value}, and gRPC takes a text, a number or a bool")]
    Parameter {
        /// The parameter's name.
        name: String,
        /// Its value.
        value: Value,
    },
}

/// How many elements a tensor of this shape has; `None` when a dimension is negative, or the
/// number too large to count.
fn count(shape: &[i64]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |product, &dimension| {
        product.checked_mul(usize::try_from(dimension).ok()?)
    })
}
