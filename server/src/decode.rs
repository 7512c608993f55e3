//! Bytes of a protocol become the engine's request.

pub(crate) mod binary;
pub(crate) mod grpc;
pub(crate) mod json;
mod elements;
mod parameters;

use skysail_engine::request::Request;
use smallvec::SmallVec;

/// A decoded request, and what its response has to look like.
#[derive(Debug, Default)]
pub(crate) struct Decoded {
    /// For the engine.
    pub(crate) request: Request,
    /// Comes back in the response.
    pub(crate) id: String,
    /// Whether each requested output is wanted as raw bytes, in the order of
    /// `request.outputs`.
    pub(crate) binary: SmallVec<[bool; 4]>,
    /// The same for all outputs, when none was requested by name.
    pub(crate) binary_by_default: bool,
    /// Whether a stream wants to be told the end of this request.
    pub(crate) wants_final_marker: bool,
}

impl Decoded {
    /// Whether the output at this place of the response is wanted as raw bytes.
    pub(crate) fn is_binary(&self, output: usize) -> bool {
        self.binary.get(output).copied().unwrap_or(self.binary_by_default)
    }
}
