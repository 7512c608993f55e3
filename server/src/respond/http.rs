//! Encodes HTTP inference responses: JSON, then the raw tensors that were asked for.

use super::json::{Base64, Elements, Notation, push_flat, push_shape, push_text};
use crate::config::NonFinite;
use crate::decode::Decoded;
use crate::status::Error;
use bytes::Bytes;
use skysail_engine::request::{OutputTensor, Response};
use smallvec::SmallVec;
use std::io::Write;

/// Smaller raw tensors are copied into the same chunk as the JSON.
const CHUNK_BYTES_MIN: usize = 16 << 10;

/// A response's body in chunks, and the length of its JSON.
pub(crate) struct Body {
    /// Chunks in order.
    pub(crate) chunks: SmallVec<[Bytes; 2]>,
    /// Bytes of JSON at the start, if raw tensors follow.
    pub(crate) header_length: Option<usize>,
}

/// Encodes the body.
///
/// # Errors
/// When an output is to be JSON, and JSON can not represent it.
pub(crate) fn respond(
    response: &Response,
    decoded: &Decoded,
    non_finite: NonFinite,
) -> Result<Body, Error> {
    let mut json = Vec::with_capacity(256);
    json.extend_from_slice(b"{\"model_name\":");
    push_text(&mut json, &response.model);
    drop(write!(json, ",\"model_version\":\"{}\"", response.version));
    if !decoded.id.is_empty() {
        json.extend_from_slice(b",\"id\":");
        push_text(&mut json, &decoded.id);
    }
    json.extend_from_slice(b",\"outputs\":[");
    let mut any_raw = false;
    for (index, output) in response.outputs.iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        let form = match decoded.is_in_shared_memory(index) {
            true => Form::InSharedMemory,
            false if decoded.is_binary(index) => Form::Raw,
            false if decoded.is_base64(index) => {
                Form::Json(Notation { non_finite, base64: Base64::Always })
            }
            false => Form::Json(Notation { non_finite, base64: Base64::Never }),
        };
        push_output(&mut json, output, &form)?;
        any_raw |= matches!(form, Form::Raw);
    }
    json.extend_from_slice(b"]}");
    let header_length = any_raw.then_some(json.len());
    // An output in shared memory has no bytes left.
    let raw = response.outputs.iter().enumerate().filter(|(index, _)| decoded.is_binary(*index));
    Ok(Body { chunks: chunks(json, raw.map(|(_, output)| &output.data)), header_length })
}

/// Encodes an error as JSON. Under overload most responses are errors, so it is one write.
pub(crate) fn error(error: &Error) -> Bytes {
    let mut json = Vec::with_capacity(256);
    json.extend_from_slice(b"{\"error\":");
    // Writing to memory does not fail.
    drop(serde_json::to_writer(&mut json, &error.message()));
    json.push(b'}');
    json.into()
}

/// A way to return the elements of an output.
enum Form {
    Json(Notation),
    /// After the JSON.
    Raw,
    InSharedMemory,
}

fn push_output(json: &mut Vec<u8>, output: &OutputTensor, form: &Form) -> Result<(), Error> {
    json.extend_from_slice(b"{\"name\":");
    push_text(json, &output.name);
    drop(write!(json, ",\"datatype\":\"{}\",\"shape\":", output.datatype.name()));
    push_shape(json, &output.shape);
    match form {
        Form::Raw => {
            drop(write!(json, ",\"parameters\":{{\"binary_data_size\":{}}}", output.data.len()));
        }
        Form::Json(notation) => {
            json.extend_from_slice(b",\"data\":");
            let (name, datatype, data) = (&*output.name, output.datatype, &*output.data);
            push_flat(json, &Elements { name, datatype, data }, *notation)?;
        }
        // Triton's C++ client takes any parameters of an output as those of raw elements.
        Form::InSharedMemory => {}
    }
    json.push(b'}');
    Ok(())
}

/// Chunks of the JSON and the raw tensors. Large tensors are not copied.
fn chunks<'a>(json: Vec<u8>, raw: impl Iterator<Item = &'a Bytes>) -> SmallVec<[Bytes; 2]> {
    let mut chunks: SmallVec<[Bytes; 2]> = SmallVec::new();
    let mut small = json;
    for data in raw {
        if data.len() < CHUNK_BYTES_MIN {
            small.extend_from_slice(data);
        } else {
            chunks.push(std::mem::take(&mut small).into());
            chunks.push(data.clone());
        }
    }
    chunks.push(small.into());
    chunks.retain(|chunk| !chunk.is_empty());
    chunks
}
