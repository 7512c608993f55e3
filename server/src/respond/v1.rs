//! Encodes responses of the V1 protocol: predictions, one for each instance.

use super::json::{Base64, Elements, Notation, push_nested, push_text};
use crate::config::NonFinite;
use crate::decode::Instances;
use crate::status::Error;
use bytes::Bytes;
use skysail_engine::request::{OutputTensor, Response};
use skysail_engine::tensor::DataType;

/// Encodes the body.
///
/// One output gives a list of predictions, and several give a list of objects. If an output does not
/// have one entry for each instance, the predictions are whole outputs.
///
/// # Errors
/// When JSON can not represent an output.
pub(crate) fn respond(
    response: &Response,
    instances: Instances,
    non_finite: NonFinite,
) -> Result<Bytes, Error> {
    let notation = Notation { non_finite, base64: Base64::IfNeeded };
    let mut json = Vec::with_capacity(256);
    json.extend_from_slice(b"{\"predictions\":");
    let outputs = response.outputs.as_slice();
    let has_rows = |rows: usize| outputs.iter().all(|output| output.shape.first() == Some(&rows));
    match instances {
        Instances::Rows(rows) if has_rows(rows) => push_rows(&mut json, rows, outputs, notation)?,
        Instances::One => {
            json.push(b'[');
            push_whole(&mut json, outputs, notation)?;
            json.push(b']');
        }
        Instances::Rows(_) => match outputs {
            [scalar] if scalar.shape.is_empty() => {
                json.push(b'[');
                push_whole(&mut json, outputs, notation)?;
                json.push(b']');
            }
            outputs => push_whole(&mut json, outputs, notation)?,
        },
    }
    json.push(b'}');
    Ok(json.into())
}

/// Appends a list with an entry for each row of the outputs.
fn push_rows(
    json: &mut Vec<u8>,
    rows: usize,
    outputs: &[OutputTensor],
    notation: Notation,
) -> Result<(), Error> {
    let mut left: Vec<&[u8]> = outputs.iter().map(|output| &*output.data).collect();
    json.push(b'[');
    for row in 0..rows {
        if row > 0 {
            json.push(b',');
        }
        let elements = outputs.iter().zip(&mut left).map(|(output, left)| {
            let shape = &output.shape[1..];
            let data = take_elements(left, shape.iter().product(), output.datatype);
            (shape, Elements { name: &output.name, datatype: output.datatype, data })
        });
        push_values(json, elements, notation)?;
    }
    json.push(b']');
    Ok(())
}

/// Appends all outputs as they are.
fn push_whole(
    json: &mut Vec<u8>,
    outputs: &[OutputTensor],
    notation: Notation,
) -> Result<(), Error> {
    let elements = outputs.iter().map(|output| {
        let (datatype, data) = (output.datatype, &*output.data);
        (output.shape.as_slice(), Elements { name: &output.name, datatype, data })
    });
    push_values(json, elements, notation)
}

/// Appends the only value, or an object of several.
fn push_values<'a>(
    json: &mut Vec<u8>,
    mut values: impl ExactSizeIterator<Item = (&'a [usize], Elements<'a>)>,
    notation: Notation,
) -> Result<(), Error> {
    if values.len() == 1 {
        return values
            .try_for_each(|(shape, elements)| push_nested(json, shape, &elements, notation));
    }
    json.push(b'{');
    for (index, (shape, elements)) in values.enumerate() {
        if index > 0 {
            json.push(b',');
        }
        push_text(json, elements.name);
        json.push(b':');
        push_nested(json, shape, &elements, notation)?;
    }
    json.push(b'}');
    Ok(())
}

/// Takes the data of the next `count` elements.
fn take_elements<'a>(left: &mut &'a [u8], count: usize, datatype: DataType) -> &'a [u8] {
    let bytes = match datatype.element_bytes() {
        Some(element_bytes) => count.saturating_mul(element_bytes),
        None => {
            let elements = skysail_engine::tensor::bytes_elements(left).take(count);
            elements.map(|element| 4 + element.len()).sum()
        }
    };
    let (taken, rest) = left.split_at(bytes.min(left.len()));
    *left = rest;
    taken
}

#[cfg(test)]
mod tests;
