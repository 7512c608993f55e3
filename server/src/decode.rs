//! Decodes the requests of each protocol for the engine.

pub(crate) mod binary;
pub(crate) mod grpc;
pub(crate) mod json;
mod elements;
mod fault;
mod number;
mod parameters;
mod reader;

use parameters::{OutputParameters, RequestParameters};
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
    /// Known parameters of the request.
    pub(crate) parameters: RequestParameters,
    /// Known parameters of each requested output, in the order of `request.outputs`.
    pub(crate) outputs: SmallVec<[OutputParameters; 4]>,
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
        let wanted = self.outputs.get(output).and_then(|output| output.binary_data);
        wanted.unwrap_or(self.parameters.binary_data_output)
    }

    #[expect(dead_code, reason = "the encoder follows")]
    /// True if BYTES of the output at this index of the response are to be base64 in JSON.
    pub(crate) fn is_base64(&self, output: usize) -> bool {
        let wanted = self.outputs.get(output).and_then(|output| output.b64);
        wanted.unwrap_or(self.parameters.b64_output)
    }
}
