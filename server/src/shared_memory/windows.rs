//! The shared memory of one request. Inputs are copied out of it before the request is queued.
//! Outputs are copied into it before the response is written.

use super::Place;
use super::overlap::overlap;
use super::region::{Region, Span};
use crate::decode::Decoded;
use crate::http::{OFFLOAD_BYTES, offload};
use crate::memory_budget::MemoryPermit;
use crate::server::Server;
use crate::status::Error;
use bytes::Bytes;
use skysail_engine::request::Response;
use std::sync::Arc;

/// A part of a region.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) region: Arc<Region>,
    pub(super) offset: u64,
    pub(super) byte_size: u64,
}

impl Window {
    /// Copies its bytes.
    pub(super) fn read(&self) -> Result<Vec<u8>, Error> {
        let bytes = usize::try_from(self.byte_size).unwrap_or(usize::MAX);
        self.region.read(self.offset, bytes)
    }

    /// Writes bytes at its start, which must fit.
    pub(super) fn write(&self, data: &[u8]) -> Result<(), Error> {
        self.region.write(self.offset, data)
    }

    fn span(&self) -> Span {
        self.region.span(self.offset, self.byte_size)
    }
}

/// Windows for the outputs of a request, and the memory that its inputs take meanwhile.
#[derive(Default)]
pub(crate) struct Windows {
    /// Windows by the index of the output.
    outputs: Vec<(usize, Window)>,
    _permit: Option<MemoryPermit>,
}

impl Windows {
    /// Copies the inputs that lie in shared memory, and opens the windows for outputs.
    ///
    /// # Errors
    /// When a place is not in a region, outputs overlap with other tensors, or inputs are too large.
    pub(crate) fn open(server: &Server, decoded: &mut Decoded) -> Result<Self, Error> {
        let Some(places) = &decoded.places else { return Ok(Self::default()) };
        let each = |(index, place): &(usize, Place)| {
            Ok::<_, Error>((*index, server.shared_memory().window(place)?))
        };
        let inputs = places.inputs.iter().map(each).collect::<Result<Vec<_>, _>>()?;
        let outputs = places.outputs.iter().map(each).collect::<Result<Vec<_>, _>>()?;
        check_overlaps(decoded, &inputs, &outputs)?;
        let bytes =
            inputs.iter().try_fold(0_u64, |sum, (_, input)| sum.checked_add(input.byte_size));
        let limit = server.body_limits().bytes_max;
        let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok());
        let Some(bytes) = bytes.filter(|bytes| *bytes <= limit) else {
            return Err(Error::malformed(format!(
                "the inputs in shared memory have more than {limit} bytes; the server's flag \
                 --body-bytes-max sets the limit"
            )));
        };
        let mut permit = server.budget().permit();
        permit.add(bytes)?;
        offload(bytes >= OFFLOAD_BYTES, || {
            inputs.iter().try_for_each(|(index, window)| {
                decoded.request.inputs[*index].data = window.read()?.into();
                Ok::<_, Error>(())
            })
        })?;
        Ok(Self { outputs, _permit: Some(permit) })
    }

    /// Moves the outputs that have a window into it.
    ///
    /// # Errors
    /// When an output does not fit; then nothing has been written.
    pub(crate) fn store(&self, response: &mut Response) -> Result<(), Error> {
        let mut total = 0;
        for (index, window) in &self.outputs {
            let Some(output) = response.outputs.get(*index) else { continue };
            let bytes = output.data.len();
            if bytes as u64 > window.byte_size {
                return Err(Error::malformed(format!(
                    "output '{}' has {bytes} bytes, and its shared_memory_byte_size is {}",
                    output.name, window.byte_size
                )));
            }
            total += bytes;
        }
        offload(total >= OFFLOAD_BYTES, || {
            for (index, window) in &self.outputs {
                let Some(output) = response.outputs.get_mut(*index) else { continue };
                window.write(&output.data)?;
                output.data = Bytes::new();
            }
            Ok(())
        })
    }
}

/// Checks that no output shares bytes with another tensor of the request.
fn check_overlaps(
    decoded: &Decoded,
    inputs: &[(usize, Window)],
    outputs: &[(usize, Window)],
) -> Result<(), Error> {
    let span = |is_output| move |(_, window): &(usize, Window)| (window.span(), is_output);
    let spans: Vec<_> =
        inputs.iter().map(span(false)).chain(outputs.iter().map(span(true))).collect();
    let Some((first, second)) = overlap(&spans) else { return Ok(()) };
    let name = |at: usize| match at.checked_sub(inputs.len()) {
        Some(at) => format!("output '{}'", decoded.request.outputs[outputs[at].0].escape_debug()),
        None => format!("input '{}'", decoded.request.inputs[inputs[at].0].name.escape_debug()),
    };
    Err(Error::malformed(format!(
        "{} and {} overlap in shared memory: an output needs bytes of its own",
        name(first),
        name(second)
    )))
}
