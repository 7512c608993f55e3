//! Keeps an attribute's value on the wire when it is zero.
//!
//! ONNX is a proto2 schema, where a field that is set to zero is written. The generated types are
//! proto3, which leaves it out. A reader that asks whether `axis` is present then takes the
//! operator's default (1 for `Flatten`) instead of the model's 0. So each zero is also stored as an
//! unknown field of the same number, which the encoder writes.

use onnx_protobuf::AttributeProto;
use onnx_protobuf::attribute_proto::AttributeType;

/// Field numbers of the single values in `AttributeProto`.
const FLOAT_FIELD: u32 = 2;
const INT_FIELD: u32 = 3;
const TEXT_FIELD: u32 = 4;

/// Ensures that `attribute` is written with its value, zero included.
///
/// Called once, when the attribute is complete. A later change must replace the attribute.
pub(crate) fn keep_zero(attribute: &mut AttributeProto) {
    // A reference to a function's attribute has no value of its own.
    if !attribute.ref_attr_name.is_empty() {
        return;
    }
    let extra = attribute.special_fields.mut_unknown_fields();
    match attribute.type_.enum_value() {
        // Compared by bits, since -0.0 is left out as well.
        Ok(AttributeType::FLOAT) if attribute.f == 0.0 => {
            extra.add_fixed32(FLOAT_FIELD, attribute.f.to_bits());
        }
        Ok(AttributeType::INT) if attribute.i == 0 => extra.add_varint(INT_FIELD, 0),
        Ok(AttributeType::STRING) if attribute.s.is_empty() => {
            extra.add_length_delimited(TEXT_FIELD, Vec::new());
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use onnx_protobuf::Message;

    fn written(mut attribute: AttributeProto) -> Vec<u8> {
        keep_zero(&mut attribute);
        attribute.write_to_bytes().unwrap()
    }

    fn of(type_: AttributeType) -> AttributeProto {
        AttributeProto { type_: type_.into(), ..AttributeProto::default() }
    }

    #[test]
    fn zeros_are_written() {
        assert_eq!(written(of(AttributeType::INT)), [0xA0, 1, 2, 0x18, 0]);
        assert_eq!(written(of(AttributeType::STRING)), [0xA0, 1, 3, 0x22, 0]);
        let minus = AttributeProto { f: -0.0, ..of(AttributeType::FLOAT) };
        let bytes = written(minus);
        assert_eq!(bytes, [0xA0, 1, 1, 0x15, 0, 0, 0, 0x80]);
        let read = AttributeProto::parse_from_bytes(&bytes).unwrap();
        assert!(read.f == 0.0 && read.f.is_sign_negative());
    }

    #[test]
    fn other_values_are_written_once() {
        let seven = AttributeProto { i: 7, ..of(AttributeType::INT) };
        assert_eq!(written(seven), [0xA0, 1, 2, 0x18, 7]);
        let reference = AttributeProto { ref_attr_name: "a".into(), ..of(AttributeType::INT) };
        assert!(!written(reference).contains(&0x18));
        assert_eq!(written(of(AttributeType::INTS)), [0xA0, 1, 7]);
    }
}
