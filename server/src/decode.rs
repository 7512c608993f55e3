//! Decodes the requests of each protocol for the engine.

pub(crate) mod binary;
pub(crate) mod grpc;
pub(crate) mod json;
mod elements;
mod parameters;

use skysail_engine::request::Request;
use skysail_engine::tensor::DataType;
use smallvec::SmallVec;

/// A decoded request, and the encoding of its response.
#[derive(Debug, Default)]
pub(crate) struct Decoded {
    /// Request for the engine.
    pub(crate) request: Request,
    /// Id of the request, repeated in the response.
    pub(crate) id: String,
    /// True for each requested output that is to be raw, in the order of `request.outputs`.
    pub(crate) binary: SmallVec<[bool; 4]>,
    /// All outputs are to be raw, if none was requested by name.
    pub(crate) binary_by_default: bool,
    /// The response is to mark the end of the request, in a stream.
    pub(crate) wants_final_marker: bool,
}

/// Parses the name of a datatype.
///
/// # Errors
/// When there is no such datatype; the message lists all.
fn datatype(name: &str) -> Result<DataType, String> {
    DataType::from_name(name).ok_or_else(|| {
        let known = DataType::ALL.map(DataType::name).join(", ");
        format!("datatype '{name}' is not one of {known}")
    })
}

impl Decoded {
    /// True if the output at this index of the response is to be raw.
    pub(crate) fn is_binary(&self, output: usize) -> bool {
        self.binary.get(output).copied().unwrap_or(self.binary_by_default)
    }
}
