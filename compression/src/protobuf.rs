//! Writes fields of protobuf messages, which ONNX files consist of.

use crate::codec::cursor::put_varint;

/// Wire type of a field of bytes, which follow their length.
const OF_BYTES: u64 = 2;

/// Appends a field of text, of bytes or of a message to a message.
pub(crate) fn put_field(message: &mut Vec<u8>, number: u64, content: &[u8]) {
    put_varint(message, number << 3 | OF_BYTES);
    put_varint(message, content.len() as u64);
    message.extend(content);
}
