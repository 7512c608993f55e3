//! Decodes HTTP requests with the binary data extension: JSON, then raw tensors in its order.

use super::Decoded;
use super::json;
use crate::status::Error;
use skysail_engine::payload::Payload;
use skysail_engine::request::InputTensor;
use skysail_engine::signature::Signature;
use skysail_engine::tensor::{DataType, Shape};
use smallvec::SmallVec;

/// Decodes a body whose first `header_length` bytes are JSON. With 0, it is one raw tensor: one
/// row, if the model's first dimension is one of rows.
///
/// # Errors
/// When the parts do not match their declared sizes.
pub(crate) fn decode(
    mut body: Payload,
    header_length: usize,
    signature: &Signature,
    has_rows: bool,
) -> Result<Decoded, Error> {
    if header_length == 0 {
        return raw(body, signature, has_rows);
    }
    let body_bytes = body.len();
    let header = body.split_to(header_length).ok_or_else(|| {
        Error::malformed(format!(
            "the header {} is {header_length}, and the body has {body_bytes} bytes",
            skysail_protocol::HEADER_LENGTH
        ))
    })?;
    let (mut decoded, inputs) = json::header(&header.contiguous())?;
    for mut input in inputs {
        if let Some(size) = input.parameters.binary_data_size {
            let left = body.len();
            let data = body.split_to(size).ok_or_else(|| {
                let name = &input.tensor.name;
                Error::malformed(format!(
                    "input '{name}' has binary_data_size {size}, and {left} bytes are left"
                ))
            })?;
            input = input.with_bytes(data)?;
        }
        decoded.push_input(input.tensor, &mut input.parameters, input.has_data)?;
    }
    if !body.is_empty() {
        let left = body.len();
        return Err(Error::malformed(format!("{left} bytes follow the last input's")));
    }
    Ok(decoded)
}

/// Decodes a body without JSON: one row of the model's only input; all outputs are raw.
fn raw(body: Payload, signature: &Signature, has_rows: bool) -> Result<Decoded, Error> {
    let [spec] = signature.inputs.as_slice() else {
        return Err(Error::malformed("a raw body needs a model with just one input"));
    };
    let mut decoded = Decoded::default();
    decoded.parameters.binary_data_output = true;
    let mut dims: SmallVec<[Option<usize>; 4]> =
        spec.wire_dims().map(|dim| usize::try_from(dim).ok()).collect();
    if let (Some(first), true) = (dims.first_mut(), has_rows) {
        *first = Some(1);
    }
    let (shape, data) = match spec.datatype.element_bytes() {
        Some(element_bytes) => (fill_dynamic(&dims, body.len() / element_bytes)?, body),
        None => (fill_dynamic(&dims, 1)?, one_string(&body)),
    };
    let (name, datatype): (String, DataType) = (spec.name.to_string(), spec.datatype);
    decoded.request.inputs.push(InputTensor { name, datatype, shape, data });
    Ok(decoded)
}

/// Sets the only dynamic dimension, if any, so that the shape has `count` elements.
fn fill_dynamic(dims: &[Option<usize>], count: usize) -> Result<Shape, Error> {
    let known: usize = dims.iter().flatten().product();
    match dims.iter().filter(|dim| dim.is_none()).count() {
        0 => Ok(dims.iter().flatten().copied().collect()),
        1 => Ok(dims.iter().map(|dim| dim.unwrap_or(count / known.max(1))).collect()),
        _ => Err(Error::malformed(
            "a raw body needs a model whose input has at most one dimension of any size",
        )),
    }
}

fn one_string(body: &Payload) -> Payload {
    let mut data = Vec::with_capacity(4 + body.len());
    skysail_engine::tensor::push_bytes_element(&mut data, &body.contiguous());
    data.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use skysail_engine::signature::TensorSpec;

    fn signature() -> Signature {
        let dims = [None, Some(2)].into_iter().collect();
        let (name, datatype, dim_names) = ("x".into(), DataType::Int16, vec![]);
        let x = TensorSpec { name, datatype, dims, dim_names, any_rank: false, reshape: None };
        Signature { inputs: vec![x], outputs: vec![], ..Signature::default() }
    }

    const JSON: &str = r#"{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "INT16",
        "parameters": {"binary_data_size": 4}}], "parameters": {"binary_data_output": true}}"#;

    fn body(raw: &[u8]) -> Payload {
        [JSON.as_bytes(), raw].concat().into()
    }

    #[test]
    fn raw_tensors_follow_the_json() {
        let decoded = decode(body(&[1, 0, 2, 0]), JSON.len(), &signature(), true).unwrap();
        assert_eq!(&*decoded.request.inputs[0].data.contiguous(), [1, 0, 2, 0]);
        assert!(decoded.is_binary(0));
    }

    #[test]
    fn wrong_lengths_are_errors_with_the_reason() {
        let error = |raw: &[u8], length| {
            decode(body(raw), length, &signature(), true).unwrap_err().to_string()
        };
        assert!(error(&[], 1 << 40).contains("and the body has"));
        assert!(error(&[1], JSON.len()).contains("1 bytes are left"));
        assert!(error(&[1, 0, 2, 0, 3], JSON.len()).contains("1 bytes follow"));
        assert!(error(&[1, 0, 2, 0], JSON.len() - 1).contains("can not be read"));
    }

    #[test]
    fn a_raw_body_is_one_row_of_the_only_input() {
        let decoded = decode(vec![1, 0, 2, 0].into(), 0, &signature(), true).unwrap();
        assert_eq!(decoded.request.inputs[0].shape.as_slice(), [1, 2]);
    }
}
