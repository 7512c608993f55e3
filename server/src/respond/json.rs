//! Writes tensors as JSON.

use crate::status::Error;
use skysail_engine::request::OutputTensor;
use skysail_engine::tensor::{DataType, bytes_elements};
use std::io::Write;

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
pub(super) fn push_elements(json: &mut Vec<u8>, tensor: &OutputTensor) -> Result<(), Error> {
    let data = &tensor.data;
    json.push(b'[');
    match tensor.datatype {
        DataType::Bool => {
            push_each::<1>(json, data, |json, b| {
                json.extend_from_slice(if b == [0] { b"false" } else { b"true" });
            });
        }
        DataType::Uint8 => push_each(json, data, |json, b| display(json, u8::from_le_bytes(b))),
        DataType::Uint16 => push_each(json, data, |json, b| display(json, u16::from_le_bytes(b))),
        DataType::Uint32 => push_each(json, data, |json, b| display(json, u32::from_le_bytes(b))),
        DataType::Uint64 => push_each(json, data, |json, b| display(json, u64::from_le_bytes(b))),
        DataType::Int8 => push_each(json, data, |json, b| display(json, i8::from_le_bytes(b))),
        DataType::Int16 => push_each(json, data, |json, b| display(json, i16::from_le_bytes(b))),
        DataType::Int32 => push_each(json, data, |json, b| display(json, i32::from_le_bytes(b))),
        DataType::Int64 => push_each(json, data, |json, b| display(json, i64::from_le_bytes(b))),
        DataType::Fp32 => {
            check_finite(tensor, |b: [u8; 4]| f32::from_le_bytes(b).is_finite())?;
            push_each(json, data, |json, b| float(json, f32::from_le_bytes(b)));
        }
        DataType::Fp64 => {
            check_finite(tensor, |b: [u8; 8]| f64::from_le_bytes(b).is_finite())?;
            push_each(json, data, |json, b| float(json, f64::from_le_bytes(b)));
        }
        DataType::Bytes => push_strings(json, tensor)?,
        DataType::Fp16 | DataType::Bf16 => {
            return Err(no_json(tensor, &format!("{} elements", tensor.datatype)));
        }
    }
    json.push(b']');
    Ok(())
}

fn push_each<const N: usize>(
    json: &mut Vec<u8>,
    data: &[u8],
    push: impl Fn(&mut Vec<u8>, [u8; N]),
) {
    for (index, element) in data.as_chunks().0.iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        push(json, *element);
    }
}

fn display(json: &mut Vec<u8>, value: impl std::fmt::Display) {
    drop(write!(json, "{value}"));
}

fn float(json: &mut Vec<u8>, value: impl ryu::Float) {
    json.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes());
}

fn check_finite<const N: usize>(
    tensor: &OutputTensor,
    is_finite: impl Fn([u8; N]) -> bool,
) -> Result<(), Error> {
    if tensor.data.as_chunks().0.iter().all(|&element| is_finite(element)) {
        return Ok(());
    }
    Err(no_json(tensor, "a NaN or an infinity"))
}

fn push_strings(json: &mut Vec<u8>, tensor: &OutputTensor) -> Result<(), Error> {
    for (index, element) in bytes_elements(&tensor.data).enumerate() {
        if index > 0 {
            json.push(b',');
        }
        let text = std::str::from_utf8(element).map_err(|_| no_json(tensor, "bytes not UTF-8"))?;
        push_text(json, text);
    }
    Ok(())
}

fn no_json(tensor: &OutputTensor, what: &str) -> Error {
    Error::malformed(format!(
        "output '{}' holds {what}, which JSON can not: ask for it with \"binary_data\": true",
        tensor.name
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(datatype: DataType, data: &[u8]) -> Result<String, String> {
        let data = bytes::Bytes::copy_from_slice(data);
        let tensor =
            OutputTensor { name: "y".into(), datatype, shape: [1].into_iter().collect(), data };
        let mut json = Vec::new();
        push_elements(&mut json, &tensor).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(json).unwrap())
    }

    #[test]
    fn elements_of_every_kind_are_written() {
        assert_eq!(json(DataType::Bool, &[1, 0]).unwrap(), "[true,false]");
        assert_eq!(json(DataType::Int16, &[255, 255, 2, 0]).unwrap(), "[-1,2]");
        assert_eq!(json(DataType::Fp32, &0.1_f32.to_le_bytes()).unwrap(), "[0.1]");
        assert_eq!(json(DataType::Bytes, b"\x02\0\0\0a\"").unwrap(), r#"["a\""]"#);
        assert_eq!(json(DataType::Fp64, &[]).unwrap(), "[]");
    }

    #[test]
    fn elements_without_json_are_an_error() {
        assert!(json(DataType::Fp32, &f32::NAN.to_le_bytes()).unwrap_err().contains("NaN"));
        assert!(json(DataType::Fp16, &[0, 0]).unwrap_err().contains("binary_data"));
        assert!(json(DataType::Bytes, b"\x01\0\0\0\xff").unwrap_err().contains("UTF-8"));
    }
}
