//! Decodes the requests of each protocol for the engine.

pub(crate) mod binary;
pub(crate) mod grpc;
pub(crate) mod json;
mod elements;
mod fault;
mod names;
mod number;
pub(crate) mod parameters;
mod reader;
pub(crate) mod v1;
pub(crate) mod value;

use crate::shared_memory::Places;
use crate::status::Error;
use parameters::{InputParameters, OutputParameters, RequestParameters};
use skysail_engine::request::{InputTensor, Request};
use skysail_engine::tensor::DataType;
use skysail_protocol::parameter;
use smallvec::SmallVec;
pub(crate) use v1::Instances;

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
    /// Places of tensors in shared memory, if some are there.
    pub(crate) places: Option<Box<Places>>,
    /// Instances of a V1 request.
    pub(crate) instances: Instances,
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
    /// Adds a requested output.
    ///
    /// # Errors
    /// When its parameters contradict each other.
    fn push_output(&mut self, name: String, mut known: OutputParameters) -> Result<(), Error> {
        if let Some(place) = known.place.take("output", &name)? {
            let other = match known {
                OutputParameters { classes: 1.., .. } => Some(parameter::CLASSIFICATION),
                OutputParameters { binary_data: Some(true), .. } => Some(parameter::BINARY_DATA),
                _ => None,
            };
            if let Some(other) = other {
                return Err(Error::malformed(format!(
                    "output '{}' has parameters {other} and {}: one only",
                    name.escape_debug(),
                    parameter::SHARED_MEMORY_REGION
                )));
            }
            self.places.get_or_insert_default().outputs.push((self.outputs.len(), place));
        }
        self.outputs.push(known);
        self.request.outputs.push(name);
        Ok(())
    }

    /// Adds an input. One in shared memory has no elements yet, and `has_data` is then false.
    ///
    /// # Errors
    /// When it has elements twice, or not at all.
    fn push_input(
        &mut self,
        input: InputTensor,
        known: &mut InputParameters,
        has_data: bool,
    ) -> Result<(), Error> {
        let place = known.place.take("input", &input.name)?;
        match (place, has_data) {
            (None, true) => {}
            (Some(place), false) => {
                let index = self.request.inputs.len();
                self.places.get_or_insert_default().inputs.push((index, place));
            }
            (None, false) => {
                return Err(Error::malformed(format!("input '{}' has no 'data'", input.name)));
            }
            (Some(_), true) => {
                return Err(Error::malformed(format!(
                    "input '{}' has data and parameter {}: one only",
                    input.name,
                    parameter::SHARED_MEMORY_REGION
                )));
            }
        }
        self.request.inputs.push(input);
        Ok(())
    }

    /// True if the output at this index of the response goes into shared memory.
    pub(crate) fn is_in_shared_memory(&self, output: usize) -> bool {
        let places = self.places.as_ref();
        places.is_some_and(|places| places.outputs.iter().any(|(index, _)| *index == output))
    }

    /// True if the output at this index of the response is to be raw.
    pub(crate) fn is_binary(&self, output: usize) -> bool {
        let wanted = self.outputs.get(output).and_then(|output| output.binary_data);
        wanted.unwrap_or(self.parameters.binary_data_output)
    }

    /// True if BYTES of the output at this index of the response are to be base64 in JSON.
    pub(crate) fn is_base64(&self, output: usize) -> bool {
        let wanted = self.outputs.get(output).and_then(|output| output.b64);
        wanted.unwrap_or(self.parameters.b64_output)
    }
}
