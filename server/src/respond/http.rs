//! An HTTP response to an inference request: JSON, and raw tensors behind it where they are
//! wanted.

use super::json::{push_elements, push_shape, push_text};
use crate::decode::Decoded;
use crate::status::Error;
use bytes::Bytes;
use skysail_engine::request::{OutputTensor, Response};
use smallvec::SmallVec;
use std::io::Write;

/// A raw tensor smaller than this is copied into the same piece as the JSON.
const PIECE_BYTES_MIN: usize = 16 << 10;

/// A response's body in pieces, and how much of it is JSON.
pub(crate) struct Body {
    /// One after the other.
    pub(crate) pieces: SmallVec<[Bytes; 2]>,
    /// Bytes of JSON at the beginning, when raw tensors follow.
    pub(crate) header_length: Option<usize>,
}

/// Writes the body.
///
/// # Errors
/// When an output is wanted as JSON and JSON can not hold it.
pub(crate) fn respond(response: &Response, decoded: &Decoded) -> Result<Body, Error> {
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
        let raw = decoded.is_binary(index);
        push_output(&mut json, output, raw)?;
        any_raw |= raw;
    }
    json.extend_from_slice(b"]}");
    let header_length = any_raw.then_some(json.len());
    let raw = response.outputs.iter().enumerate().filter(|(index, _)| decoded.is_binary(*index));
    Ok(Body { pieces: pieces(json, raw.map(|(_, output)| &output.data)), header_length })
}

/// The body of a refusal, which says why. Under overload most answers are refusals, so it is
/// written in one go.
pub(crate) fn error(error: &Error) -> Bytes {
    let mut json = Vec::with_capacity(256);
    json.extend_from_slice(b"{\"error\":");
    // Writing to memory does not fail.
    drop(serde_json::to_writer(&mut json, &format_args!("{error}")));
    json.push(b'}');
    json.into()
}

fn push_output(json: &mut Vec<u8>, output: &OutputTensor, raw: bool) -> Result<(), Error> {
    json.extend_from_slice(b"{\"name\":");
    push_text(json, &output.name);
    drop(write!(json, ",\"datatype\":\"{}\",\"shape\":", output.datatype.name()));
    push_shape(json, &output.shape);
    if raw {
        drop(write!(json, ",\"parameters\":{{\"binary_data_size\":{}}}", output.data.len()));
    } else {
        json.extend_from_slice(b",\"data\":");
        push_elements(json, output)?;
    }
    json.push(b'}');
    Ok(())
}

/// The JSON and the raw tensors; large ones are not copied.
fn pieces<'a>(json: Vec<u8>, raw: impl Iterator<Item = &'a Bytes>) -> SmallVec<[Bytes; 2]> {
    let mut pieces: SmallVec<[Bytes; 2]> = SmallVec::new();
    let mut small = json;
    for data in raw {
        if data.len() < PIECE_BYTES_MIN {
            small.extend_from_slice(data);
        } else {
            pieces.push(std::mem::take(&mut small).into());
            pieces.push(data.clone());
        }
    }
    pieces.push(small.into());
    pieces.retain(|piece| !piece.is_empty());
    pieces
}
