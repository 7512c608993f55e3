//! Writes tensors as JSON.

use crate::config::NonFinite;
use crate::status::Error;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use half::{bf16, f16};
use skysail_engine::tensor::{DataType, bytes_elements};
use std::io::Write;

/// Notation of elements that are no plain JSON.
#[derive(Clone, Copy, Debug)]
pub(super) struct Notation {
    pub(super) non_finite: NonFinite,
    pub(super) base64: Base64,
}

/// Elements of BYTES that are written as objects with base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base64 {
    /// No element. One that is no UTF-8 is an error.
    Never,
    /// Elements that are no UTF-8.
    IfNeeded,
    /// Every element.
    Always,
}

/// Elements of an output.
#[derive(Clone, Copy, Debug)]
pub(super) struct Elements<'a> {
    /// Name of the output, for messages.
    pub(super) name: &'a str,
    pub(super) datatype: DataType,
    pub(super) data: &'a [u8],
}

/// Appends a JSON string.
pub(super) fn push_text(json: &mut Vec<u8>, text: &str) {
    // Writing to memory does not fail.
    drop(serde_json::to_writer(json, text));
}

/// Appends a JSON array of numbers.
pub(super) fn push_shape(json: &mut Vec<u8>, shape: &[usize]) {
    json.push(b'[');
    for (index, dim) in shape.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        drop(write!(json, "{comma}{dim}"));
    }
    json.push(b']');
}

/// Appends the elements as a flat JSON array.
///
/// # Errors
/// When JSON can not represent them.
pub(super) fn push_flat(
    json: &mut Vec<u8>,
    elements: &Elements<'_>,
    notation: Notation,
) -> Result<(), Error> {
    json.push(b'[');
    push_elements(json, elements, notation, |json, index| {
        if index > 0 {
            json.push(b',');
        }
    })?;
    json.push(b']');
    Ok(())
}

/// Appends the elements as arrays nested by the shape; an element alone if it has no dimensions.
///
/// # Errors
/// When JSON can not represent them.
pub(super) fn push_nested(
    json: &mut Vec<u8>,
    shape: &[usize],
    elements: &Elements<'_>,
    notation: Notation,
) -> Result<(), Error> {
    if shape.contains(&0) {
        push_empty(json, shape);
        return Ok(());
    }
    // Elements of the arrays that end with each dimension, from the innermost.
    let sizes: Vec<usize> = shape
        .iter()
        .rev()
        .scan(1_usize, |size, dim| {
            *size = size.saturating_mul(*dim);
            Some(*size)
        })
        .collect();
    json.extend(shape.iter().map(|_| b'['));
    push_elements(json, elements, notation, |json, index| {
        if index > 0 {
            let ending = sizes.iter().take_while(|size| index.is_multiple_of(**size)).count();
            json.extend(std::iter::repeat_n(b']', ending));
            json.push(b',');
            json.extend(std::iter::repeat_n(b'[', ending));
        }
    })?;
    json.extend(shape.iter().map(|_| b']'));
    Ok(())
}

/// Appends the arrays of a shape without elements, down to those that are empty.
fn push_empty(json: &mut Vec<u8>, shape: &[usize]) {
    json.push(b'[');
    if let Some((outer, inner)) = shape.split_first() {
        for index in 0..*outer {
            if index > 0 {
                json.push(b',');
            }
            push_empty(json, inner);
        }
    }
    json.push(b']');
}

/// Appends each element after what `before` writes for its index.
fn push_elements(
    json: &mut Vec<u8>,
    elements: &Elements<'_>,
    notation: Notation,
    before: impl Fn(&mut Vec<u8>, usize),
) -> Result<(), Error> {
    let data = elements.data;
    match elements.datatype {
        DataType::Bool => each::<1>(json, data, before, |json, b| {
            json.extend_from_slice(if b == [0] { b"false" } else { b"true" });
            Ok(())
        }),
        DataType::Uint8 => each(json, data, before, |json, b| push(json, u8::from_le_bytes(b))),
        DataType::Uint16 => each(json, data, before, |json, b| push(json, u16::from_le_bytes(b))),
        DataType::Uint32 => each(json, data, before, |json, b| push(json, u32::from_le_bytes(b))),
        DataType::Uint64 => each(json, data, before, |json, b| push(json, u64::from_le_bytes(b))),
        DataType::Int8 => each(json, data, before, |json, b| push(json, i8::from_le_bytes(b))),
        DataType::Int16 => each(json, data, before, |json, b| push(json, i16::from_le_bytes(b))),
        DataType::Int32 => each(json, data, before, |json, b| push(json, i32::from_le_bytes(b))),
        DataType::Int64 => each(json, data, before, |json, b| push(json, i64::from_le_bytes(b))),
        DataType::Fp32 => each(json, data, before, |json, b| {
            let value = f32::from_le_bytes(b);
            push_float(json, value, value.into(), elements, notation)
        }),
        DataType::Fp64 => each(json, data, before, |json, b| {
            let value = f64::from_le_bytes(b);
            push_float(json, value, value, elements, notation)
        }),
        DataType::Fp16 => each(json, data, before, |json, b| {
            let value = f16::from_le_bytes(b).to_f32();
            push_float(json, value, value.into(), elements, notation)
        }),
        DataType::Bf16 => each(json, data, before, |json, b| {
            let value = bf16::from_le_bytes(b).to_f32();
            push_float(json, value, value.into(), elements, notation)
        }),
        DataType::Bytes => bytes_elements(data).enumerate().try_for_each(|(index, element)| {
            before(json, index);
            push_bytes(json, element, elements, notation)
        }),
    }
}

fn each<const N: usize>(
    json: &mut Vec<u8>,
    data: &[u8],
    before: impl Fn(&mut Vec<u8>, usize),
    push: impl Fn(&mut Vec<u8>, [u8; N]) -> Result<(), Error>,
) -> Result<(), Error> {
    data.as_chunks().0.iter().enumerate().try_for_each(|(index, element)| {
        before(json, index);
        push(json, *element)
    })
}

fn push(json: &mut Vec<u8>, value: impl std::fmt::Display) -> Result<(), Error> {
    drop(write!(json, "{value}"));
    Ok(())
}

/// Appends a float, which `wide` equals.
fn push_float(
    json: &mut Vec<u8>,
    value: impl ryu::Float,
    wide: f64,
    elements: &Elements<'_>,
    notation: Notation,
) -> Result<(), Error> {
    if wide.is_finite() {
        json.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes());
        return Ok(());
    }
    json.extend_from_slice(match notation.non_finite {
        NonFinite::Null => b"null",
        NonFinite::Nan if wide.is_nan() => b"NaN",
        NonFinite::Nan if wide > 0.0 => b"Infinity",
        NonFinite::Nan => b"-Infinity",
        NonFinite::Error => {
            return Err(Error::malformed(format!(
                "output '{}' holds NaN or an infinity, which the server does not write as JSON \
                 (its flag --json-non-finite): ask for it with \"binary_data\": true",
                elements.name
            )));
        }
    });
    Ok(())
}

fn push_bytes(
    json: &mut Vec<u8>,
    element: &[u8],
    elements: &Elements<'_>,
    notation: Notation,
) -> Result<(), Error> {
    let text = match notation.base64 {
        Base64::Always => None,
        Base64::Never | Base64::IfNeeded => std::str::from_utf8(element).ok(),
    };
    match text {
        Some(text) => push_text(json, text),
        None if notation.base64 == Base64::Never => {
            return Err(Error::malformed(format!(
                "output '{}' holds bytes that are no UTF-8, and so no JSON text: ask for it with its \
                 parameter \"b64\": true, or with \"binary_data\": true",
                elements.name
            )));
        }
        None => drop(write!(json, "{{\"b64\":\"{}\"}}", STANDARD.encode(element))),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Notation = Notation { non_finite: NonFinite::Nan, base64: Base64::Never };

    fn elements(datatype: DataType, data: &[u8]) -> Elements<'_> {
        Elements { name: "y", datatype, data }
    }

    fn written(datatype: DataType, data: &[u8], notation: Notation) -> Result<String, String> {
        let mut json = Vec::new();
        push_flat(&mut json, &elements(datatype, data), notation)
            .map_err(|error| error.to_string())?;
        Ok(String::from_utf8(json).unwrap())
    }

    fn json(datatype: DataType, data: &[u8]) -> String {
        written(datatype, data, PLAIN).unwrap()
    }

    #[test]
    fn elements_of_every_kind_are_written() {
        assert_eq!(json(DataType::Bool, &[1, 0]), "[true,false]");
        assert_eq!(json(DataType::Int16, &[255, 255, 2, 0]), "[-1,2]");
        assert_eq!(json(DataType::Fp32, &0.1_f32.to_le_bytes()), "[0.1]");
        assert_eq!(json(DataType::Bytes, b"\x02\0\0\0a\""), r#"["a\""]"#);
        assert_eq!(json(DataType::Fp64, &[]), "[]");
        assert_eq!(json(DataType::Fp16, &f16::from_f32(-1.5).to_le_bytes()), "[-1.5]");
        assert_eq!(json(DataType::Bf16, &bf16::from_f32(3.0).to_le_bytes()), "[3.0]");
    }

    #[test]
    fn numbers_that_are_not_finite_have_the_notation_of_the_setting() {
        let values = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.0];
        let singles: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let doubles = values.iter().flat_map(|value| f64::from(*value).to_le_bytes());
        let halves = values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes());
        for (datatype, data) in [
            (DataType::Fp32, singles),
            (DataType::Fp64, doubles.collect()),
            (DataType::Fp16, halves.collect()),
        ] {
            assert_eq!(json(datatype, &data), "[NaN,Infinity,-Infinity,1.0]");
            let null = Notation { non_finite: NonFinite::Null, ..PLAIN };
            assert_eq!(written(datatype, &data, null).unwrap(), "[null,null,null,1.0]");
            let error = Notation { non_finite: NonFinite::Error, ..PLAIN };
            let message = written(datatype, &data, error).unwrap_err();
            assert!(message.contains("'y'") && message.contains("binary_data"), "{message}");
        }
    }

    #[test]
    fn bytes_are_base64_when_asked_or_needed() {
        let data = b"\x01\0\0\0\xff\x02\0\0\0hi";
        let message = written(DataType::Bytes, data, PLAIN).unwrap_err();
        assert!(message.contains("'y'") && message.contains("\"b64\": true"), "{message}");
        let with = |base64| written(DataType::Bytes, data, Notation { base64, ..PLAIN }).unwrap();
        assert_eq!(with(Base64::Always), r#"[{"b64":"/w=="},{"b64":"aGk="}]"#);
        assert_eq!(with(Base64::IfNeeded), r#"[{"b64":"/w=="},"hi"]"#);
    }

    #[test]
    fn nested_arrays_follow_the_shape() {
        let nested = |shape: &[usize]| {
            let count: usize = shape.iter().product();
            let data: Vec<u8> = (0..count as u8).collect();
            let mut json = Vec::new();
            push_nested(&mut json, shape, &elements(DataType::Uint8, &data), PLAIN).unwrap();
            String::from_utf8(json).unwrap()
        };
        assert_eq!(nested(&[]), "0");
        assert_eq!(nested(&[3]), "[0,1,2]");
        assert_eq!(nested(&[2, 2]), "[[0,1],[2,3]]");
        assert_eq!(nested(&[2, 1, 2]), "[[[0,1]],[[2,3]]]");
        assert_eq!(nested(&[1, 1, 1]), "[[[0]]]");
        assert_eq!(nested(&[2, 0]), "[[],[]]");
        assert_eq!(nested(&[0, 2]), "[]");
        assert_eq!(nested(&[0]), "[]");
    }
}
