//! Errors of models; messages name the place.

use crate::ElementType;
use std::path::{Path, PathBuf};

/// Error of reading, changing or writing a model. A retry helps only for `Io`.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// The system failed to read or write a file.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// Action that failed, as a verb.
        action: &'static str,
        /// File or folder.
        path: PathBuf,
        /// Error of the system.
        source: std::io::Error,
    },

    /// The size is over a limit of this crate.
    #[error("{what} is {bytes} bytes, more than the limit of {bytes_max}")]
    TooLarge {
        /// Object that is too large.
        what: String,
        /// Size in bytes.
        bytes: u64,
        /// Limit in bytes.
        bytes_max: u64,
    },

    /// The bytes are not a well-formed ONNX file.
    #[error("not a valid ONNX file: {problem}, in {place} at byte {offset}")]
    Malformed {
        /// Description of the problem.
        problem: &'static str,
        /// Part of the model, such as `graph.node[3].attribute[0]`.
        place: String,
        /// Offset in the bytes.
        offset: usize,
    },

    /// A field does not decode, though the structure is right.
    #[error("not a valid ONNX file: {0}")]
    Protobuf(#[from] protobuf::Error),

    /// The file holds no graph; most often it is no ONNX model at all.
    #[error("not a valid ONNX file: it holds no graph")]
    NoGraph,

    /// A tensor contradicts itself.
    #[error("tensor '{tensor}': {problem}")]
    BadTensor {
        /// Name of the tensor.
        tensor: String,
        /// Description of the problem.
        problem: String,
    },

    /// The values of a new tensor do not fit its shape.
    #[error("{bytes} bytes are not the values of a {element} tensor of shape {shape:?}")]
    BadShape {
        /// Number of bytes.
        bytes: usize,
        /// Type of the elements.
        element: ElementType,
        /// Dimensions.
        shape: Vec<u64>,
    },

    /// A tensor was read as another type than its own.
    #[error("tensor '{tensor}' holds {found}, not {wanted}")]
    WrongType {
        /// Name of the tensor.
        tensor: String,
        /// Requested type.
        wanted: ElementType,
        /// Type of the tensor.
        found: ElementType,
    },

    /// A tensor's data lie in another file, which cannot be used.
    #[error("tensor '{tensor}' has its data in '{location}': {problem}")]
    BadExternalData {
        /// Name of the tensor.
        tensor: String,
        /// File name in the model.
        location: String,
        /// Description of the problem.
        problem: String,
    },

    /// A model with data in files beside it cannot be saved in another folder.
    #[error(
        "the model keeps the data of '{tensor}' in a file of its own folder: save it in that \
         folder, or call inline_external_data first"
    )]
    LeavesExternalData {
        /// Name of one of the tensors.
        tensor: String,
    },

    /// An attribute of a node has the wrong type or value.
    #[error("attribute '{attribute}' of node '{node}': {problem}")]
    BadAttribute {
        /// Name of the node, or its operator if it has none.
        node: String,
        /// Name of the attribute.
        attribute: String,
        /// Description of the problem.
        problem: String,
    },

    /// A new or changed graph is inconsistent.
    #[error("cannot build the graph: {0}")]
    BadGraph(String),
}

impl GraphError {
    /// Makes an I/O error, for `map_err`.
    pub(crate) fn io(
        action: &'static str,
        path: &Path,
    ) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }

    /// Makes the error of a graph that defines a name twice.
    pub(crate) fn two_values(name: &str) -> Self {
        Self::BadGraph(format!("there are two values named '{name}'"))
    }

    /// Makes the error of a value that is used at `place` before it is defined.
    pub(crate) fn no_value(name: &str, place: &str) -> Self {
        Self::BadGraph(format!("there is no value '{name}' yet at {place}"))
    }

    /// Makes an error about a tensor's content.
    pub(crate) fn tensor(name: &str, problem: impl Into<String>) -> Self {
        Self::BadTensor { tensor: name.to_owned(), problem: problem.into() }
    }
}
