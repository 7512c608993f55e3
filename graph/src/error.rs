//! What can be wrong with a model, in words that name the place.

use crate::ElementType;
use std::path::{Path, PathBuf};

/// Why a model could not be read, changed or written. Trying again helps for `Io` alone.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// The system refused to read or write a file.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was being done, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },

    /// More bytes than this crate handles.
    #[error("{what} is {bytes} bytes, more than the limit of {bytes_max}")]
    TooLarge {
        /// What is too large.
        what: String,
        /// Its size.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },

    /// The bytes are not a well-formed ONNX file.
    #[error("not a valid ONNX file: {problem}, in {place} at byte {offset}")]
    Malformed {
        /// What is wrong.
        problem: &'static str,
        /// The part of the model, such as `graph.node[3].attribute[0]`.
        place: String,
        /// Where in the bytes.
        offset: usize,
    },

    /// The bytes have the right structure, and a field in them does not decode.
    #[error("not a valid ONNX file: {0}")]
    Protobuf(#[from] protobuf::Error),

    /// The file holds no graph: most often it is no ONNX model at all.
    #[error("not a valid ONNX file: it holds no graph")]
    NoGraph,

    /// A tensor contradicts itself.
    #[error("tensor '{tensor}': {problem}")]
    BadTensor {
        /// The tensor's name.
        tensor: String,
        /// What is wrong.
        problem: String,
    },

    /// A new tensor's values do not fit its shape.
    #[error("{bytes} bytes are not the values of a {element} tensor of shape {shape:?}")]
    BadShape {
        /// The number of bytes there are.
        bytes: usize,
        /// The type of its elements.
        element: ElementType,
        /// Its dimensions.
        shape: Vec<u64>,
    },

    /// A tensor was asked for as another type than its own.
    #[error("tensor '{tensor}' holds {found}, not {wanted}")]
    WrongType {
        /// The tensor's name.
        tensor: String,
        /// What was asked for.
        wanted: ElementType,
        /// What it is.
        found: ElementType,
    },

    /// A tensor's data lie in another file, which cannot be used.
    #[error("tensor '{tensor}' has its data in '{location}': {problem}")]
    BadExternalData {
        /// The tensor's name.
        tensor: String,
        /// The file as the model names it.
        location: String,
        /// What is wrong.
        problem: String,
    },

    /// The model keeps data in files beside it, and was to be saved in another folder.
    #[error(
        "the model keeps the data of '{tensor}' in a file of its own folder: save it in that \
         folder, or call inline_external_data first"
    )]
    LeavesExternalData {
        /// One of the tensors.
        tensor: String,
    },

    /// A node's attribute is not what its reader expects.
    #[error("attribute '{attribute}' of node '{node}': {problem}")]
    BadAttribute {
        /// The node's name, or its operator where it has none.
        node: String,
        /// The attribute's name.
        attribute: String,
        /// What is wrong.
        problem: String,
    },

    /// A graph in the making, or with changes made, does not hold together.
    #[error("cannot build the graph: {0}")]
    BadGraph(String),
}

impl GraphError {
    /// An I/O error, for `map_err`.
    pub(crate) fn io(
        action: &'static str,
        path: &Path,
    ) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }

    /// A graph in which a name is given twice.
    pub(crate) fn two_values(name: &str) -> Self {
        Self::BadGraph(format!("there are two values named '{name}'"))
    }

    /// A graph in which a value is taken at `place` and was never made.
    pub(crate) fn no_value(name: &str, place: &str) -> Self {
        Self::BadGraph(format!("there is no value '{name}' yet at {place}"))
    }

    /// An error about a tensor's own content.
    pub(crate) fn tensor(name: &str, problem: impl Into<String>) -> Self {
        Self::BadTensor { tensor: name.to_owned(), problem: problem.into() }
    }
}
