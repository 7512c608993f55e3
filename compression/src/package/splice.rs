//! Removes initializers' values from an ONNX file's bytes, and puts them back.
//!
//! It works on the file's structure rather than on a decoded model. Everything else in the file
//! stays the same to the byte, whatever later versions of ONNX add. The bytes are those of a
//! `Model`, which has checked their structure; a mistake in them is an error nevertheless.

use crate::codec::cursor::{CodecError, Cursor, put_varint};
use crate::protobuf::put_field;

/// Numbers of fields in `onnx.proto`.
const MODEL_GRAPH: u64 = 7;
const GRAPH_INITIALIZER: u64 = 5;
const TENSOR_RAW_DATA: u64 = 9;
const TENSOR_EXTERNAL_DATA: u64 = 13;
const TENSOR_DATA_LOCATION: u64 = 14;
/// All fields of a tensor that hold values, or their location.
const TENSOR_VALUES: [u64; 8] =
    [4, 5, 7, TENSOR_RAW_DATA, 10, 11, TENSOR_EXTERNAL_DATA, TENSOR_DATA_LOCATION];

/// A change of an initializer.
pub(crate) enum Change<'a> {
    /// Leaves it unchanged.
    Keep,
    /// Removes its values.
    Empty,
    /// Sets its values.
    Fill(&'a [u8]),
    /// Replaces its values by a reference to the file of this name.
    Refer(&'a str),
}

/// Applies `change` to each initializer of the graph of an ONNX file. It is called with the number
/// of each initializer, from 0.
pub(crate) fn splice<'a>(
    model: &[u8],
    mut change: impl FnMut(usize) -> Change<'a>,
) -> Result<Vec<u8>, CodecError> {
    let mut number = 0;
    rewrite(model, &mut |field, content| {
        if field != MODEL_GRAPH {
            return Ok(None);
        }
        let graph = rewrite(content, &mut |field, content| {
            if field != GRAPH_INITIALIZER {
                return Ok(None);
            }
            number += 1;
            changed(content, &change(number - 1))
        });
        graph.map(Some)
    })
}

/// Returns the changed tensor, or `None` where it is unchanged.
fn changed(tensor: &[u8], change: &Change<'_>) -> Result<Option<Vec<u8>>, CodecError> {
    let mut bytes = match change {
        Change::Keep => return Ok(None),
        _ => without_values(tensor)?,
    };
    match change {
        Change::Keep | Change::Empty => {}
        Change::Fill(values) => put_field(&mut bytes, TENSOR_RAW_DATA, values),
        Change::Refer(file) => {
            let mut entry = Vec::new();
            put_field(&mut entry, 1, b"location");
            put_field(&mut entry, 2, file.as_bytes());
            put_field(&mut bytes, TENSOR_EXTERNAL_DATA, &entry);
            put_varint(&mut bytes, TENSOR_DATA_LOCATION << 3);
            put_varint(&mut bytes, 1);
        }
    }
    Ok(Some(bytes))
}

fn without_values(tensor: &[u8]) -> Result<Vec<u8>, CodecError> {
    let mut bytes = Vec::new();
    let mut cursor = Cursor::new(tensor);
    while let Some(field) = Field::next(&mut cursor)? {
        if !TENSOR_VALUES.contains(&field.number) {
            bytes.extend(field.whole);
        }
    }
    Ok(bytes)
}

/// Returns the new content of a field, if it changes.
type Rewrite<'r> = &'r mut dyn FnMut(u64, &[u8]) -> Result<Option<Vec<u8>>, CodecError>;

/// Rewrites a message: `new` is called for every field that is a message itself.
fn rewrite(message: &[u8], new: Rewrite<'_>) -> Result<Vec<u8>, CodecError> {
    let mut bytes = Vec::with_capacity(message.len());
    let mut cursor = Cursor::new(message);
    while let Some(field) = Field::next(&mut cursor)? {
        let new = field.content.map(|content| new(field.number, content)).transpose()?.flatten();
        match new {
            Some(content) => put_field(&mut bytes, field.number, &content),
            None => bytes.extend(field.whole),
        }
    }
    Ok(bytes)
}

/// A field of a protobuf message.
struct Field<'a> {
    number: u64,
    /// Bytes of the field, the tag included.
    whole: &'a [u8],
    /// Content, if the field has a length: a message, text or bytes.
    content: Option<&'a [u8]>,
}

impl<'a> Field<'a> {
    fn next(cursor: &mut Cursor<'a>) -> Result<Option<Self>, CodecError> {
        let (start, before) = (cursor.at(), cursor.rest());
        if before.is_empty() {
            return Ok(None);
        }
        let tag = cursor.varint()?;
        let content = match tag & 7 {
            0 => cursor.varint().map(|_| None),
            1 => cursor.take(8).map(|_| None),
            5 => cursor.take(4).map(|_| None),
            2 => {
                let length = cursor.length()?;
                cursor.take(length).map(Some)
            }
            _ => Err(cursor.fail("a field has no valid layout")),
        }?;
        Ok(Some(Self { number: tag >> 3, whole: &before[..cursor.at() - start], content }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skysail_graph::{Model, mlp};

    #[test]
    fn values_are_removed_and_restored() {
        let mut model = mlp(&[3, 4, 2], 1).unwrap();
        model.set_metadata("key", "value");
        let whole = model.to_bytes().unwrap();
        assert_eq!(splice(&whole, |_| Change::Keep).unwrap(), whole);
        let empty = splice(&whole, |i| if i == 1 { Change::Keep } else { Change::Empty }).unwrap();
        assert!(empty.len() + 4 * (3 * 4 + 4 * 2 + 2) <= whole.len());
        let values: Vec<Vec<u8>> = model
            .graph()
            .initializers()
            .map(|tensor| tensor.bytes().unwrap().into_owned())
            .collect();
        let stripped = Model::from_bytes(&empty).unwrap();
        assert!(stripped.graph().initializers().nth(1).unwrap().bytes().is_ok());
        let filled = splice(&empty, |i| Change::Fill(&values[i])).unwrap();
        assert_eq!(filled, whole);
        let referring = splice(&whole, |_| Change::Refer("elsewhere")).unwrap();
        let referring = Model::from_bytes(&referring).unwrap();
        assert!(referring.graph().initializers().all(|tensor| tensor.is_external()));
    }

    #[test]
    fn a_broken_structure_is_rejected() {
        for bytes in [[0x3A, 0x05, 0x00].as_slice(), &[0x3B], &[0x80], &[0x09, 1, 2]] {
            assert!(splice(bytes, |_| Change::Empty).is_err());
        }
    }
}
