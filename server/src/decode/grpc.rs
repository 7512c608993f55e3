//! Decodes gRPC inference requests.

use super::Decoded;
use super::parameters::{InputParameters, KnownParameters, OutputParameters, Value};
use crate::status::Error;
use bytes::Bytes;
use skysail_engine::parameters::{CustomParameters, ParameterOwner};
use skysail_engine::payload::Payload;
use skysail_engine::request::InputTensor;
use skysail_engine::tensor::{DataType, Shape, push_bytes_element};
use skysail_protocol::grpc::infer_parameter::ParameterChoice;
use skysail_protocol::grpc::model_infer_request::InferInputTensor;
use skysail_protocol::grpc::{InferParameter, InferTensorContents, ModelInferRequest};
use skysail_protocol::parameter;
use std::collections::HashMap;

/// Decodes a message. Raw tensors are not copied.
///
/// # Errors
/// When the message is inconsistent.
pub(crate) fn decode(message: ModelInferRequest) -> Result<Decoded, Error> {
    let mut decoded = Decoded { id: message.id, ..Decoded::default() };
    // Elements always go into raw_output_contents.
    decoded.parameters.binary_data_output = true;
    let custom = &mut decoded.request.parameters;
    take(&message.parameters, &mut decoded.parameters, custom, ParameterOwner::Request)?;
    decoded.request.timeout_us = decoded.parameters.timeout_us;
    decoded.request.priority = decoded.parameters.priority;
    for (index, output) in message.outputs.into_iter().enumerate() {
        let mut known = OutputParameters::default();
        let custom = &mut decoded.request.parameters;
        take(&output.parameters, &mut known, custom, ParameterOwner::Output(index))?;
        decoded.push_output(output.name, known)?;
    }
    let raw = message.raw_input_contents;
    if !raw.is_empty()
        && let Some(typed) = message.inputs.iter().find(|input| input.contents.is_some())
    {
        return Err(Error::malformed(format!(
            "input '{}' has contents, and the request has raw_input_contents: put the elements of \
             all inputs into one of the two",
            typed.name
        )));
    }
    let in_message = message.inputs.iter().filter(|input| !is_in_shared_memory(input)).count();
    if !raw.is_empty() && raw.len() != in_message {
        let (raw, inputs) = (raw.len(), in_message);
        return Err(Error::malformed(format!(
            "the request has {raw} raw_input_contents for {inputs} inputs"
        )));
    }
    let mut raw = raw.into_iter();
    for (index, input) in message.inputs.into_iter().enumerate() {
        let custom = &mut decoded.request.parameters;
        let mut known = InputParameters::default();
        take(&input.parameters, &mut known, custom, ParameterOwner::Input(index))?;
        let is_shared = is_in_shared_memory(&input);
        let has_data = !is_shared || input.contents.is_some();
        let bytes = if is_shared { None } else { raw.next() };
        decoded.push_input(tensor(input, bytes)?, &mut known, has_data)?;
    }
    Ok(decoded)
}

/// True if an input's elements are not in the message.
fn is_in_shared_memory(input: &InferInputTensor) -> bool {
    input.parameters.contains_key(parameter::SHARED_MEMORY_REGION)
}

fn tensor(input: InferInputTensor, raw: Option<Bytes>) -> Result<InputTensor, Error> {
    let InferInputTensor { name, datatype, shape, contents, .. } = input;
    let datatype = super::datatype(&datatype)
        .map_err(|error| Error::malformed(format!("input '{name}': {error}")))?;
    let natural = |dim: &i64| usize::try_from(*dim);
    let shape: Shape = shape.iter().map(natural).collect::<Result<_, _>>().map_err(|_| {
        Error::malformed(format!("input '{name}': shape {shape:?} has a negative dimension"))
    })?;
    let data = match raw {
        Some(raw) => raw.into(),
        None => typed(&name, datatype, contents.unwrap_or_default())?,
    };
    Ok(InputTensor { name, datatype, shape, data })
}

/// Converts typed contents to binary form.
fn typed(name: &str, datatype: DataType, contents: InferTensorContents) -> Result<Payload, Error> {
    let c = contents;
    if let Some(other) = other_contents(&c, datatype) {
        return Err(Error::malformed(format!(
            "input '{name}' has datatype {datatype} and elements in {other}: the protocol puts them \
             into {}",
            contents_field(datatype)
        )));
    }
    let data = match datatype {
        DataType::Bool => c.bool_contents.iter().map(|&bit| u8::from(bit)).collect(),
        DataType::Int8 => narrow(name, &c.int_contents, i8::to_le_bytes)?,
        DataType::Int16 => narrow(name, &c.int_contents, i16::to_le_bytes)?,
        DataType::Int32 => narrow(name, &c.int_contents, i32::to_le_bytes)?,
        DataType::Int64 => narrow(name, &c.int64_contents, i64::to_le_bytes)?,
        DataType::Uint8 => narrow(name, &c.uint_contents, u8::to_le_bytes)?,
        DataType::Uint16 => narrow(name, &c.uint_contents, u16::to_le_bytes)?,
        DataType::Uint32 => narrow(name, &c.uint_contents, u32::to_le_bytes)?,
        DataType::Uint64 => narrow(name, &c.uint64_contents, u64::to_le_bytes)?,
        DataType::Fp32 => c.fp32_contents.iter().flat_map(|x| x.to_le_bytes()).collect(),
        DataType::Fp64 => c.fp64_contents.iter().flat_map(|x| x.to_le_bytes()).collect(),
        DataType::Bytes => {
            let mut data = Vec::new();
            c.bytes_contents.iter().for_each(|element| push_bytes_element(&mut data, element));
            data
        }
        DataType::Fp16 | DataType::Bf16 => {
            return Err(Error::malformed(format!(
                "input '{name}': {datatype} goes into raw_input_contents only"
            )));
        }
    };
    Ok(data.into())
}

/// The field of typed contents that has the elements of a datatype.
fn contents_field(datatype: DataType) -> &'static str {
    match datatype {
        DataType::Bool => "bool_contents",
        DataType::Int8 | DataType::Int16 | DataType::Int32 => "int_contents",
        DataType::Int64 => "int64_contents",
        DataType::Uint8 | DataType::Uint16 | DataType::Uint32 => "uint_contents",
        DataType::Uint64 => "uint64_contents",
        DataType::Fp32 => "fp32_contents",
        DataType::Fp64 => "fp64_contents",
        DataType::Bytes => "bytes_contents",
        DataType::Fp16 | DataType::Bf16 => "raw_input_contents",
    }
}

/// A field with elements of another datatype, if there is one.
fn other_contents(c: &InferTensorContents, datatype: DataType) -> Option<&'static str> {
    let own = contents_field(datatype);
    let fields = [
        ("bool_contents", c.bool_contents.is_empty()),
        ("int_contents", c.int_contents.is_empty()),
        ("int64_contents", c.int64_contents.is_empty()),
        ("uint_contents", c.uint_contents.is_empty()),
        ("uint64_contents", c.uint64_contents.is_empty()),
        ("fp32_contents", c.fp32_contents.is_empty()),
        ("fp64_contents", c.fp64_contents.is_empty()),
        ("bytes_contents", c.bytes_contents.is_empty()),
    ];
    let other = fields.into_iter().find(|(field, is_empty)| !is_empty && *field != own);
    other.map(|(field, _)| field)
}

fn narrow<W: Copy + std::fmt::Display, T: TryFrom<W>, const N: usize>(
    name: &str,
    wide: &[W],
    bytes: impl Fn(T) -> [u8; N],
) -> Result<Vec<u8>, Error> {
    let mut data = Vec::with_capacity(wide.len() * N);
    for &value in wide {
        let fitting = T::try_from(value).map_err(|_| {
            Error::malformed(format!("input '{name}': {value} does not fit its datatype"))
        })?;
        data.extend_from_slice(&bytes(fitting));
    }
    Ok(data)
}

/// Takes the parameters of one owner.
fn take(
    parameters: &HashMap<String, InferParameter>,
    known: &mut impl KnownParameters,
    custom: &mut CustomParameters,
    owner: ParameterOwner,
) -> Result<(), Error> {
    for (name, parameter) in parameters {
        let value = match &parameter.parameter_choice {
            Some(ParameterChoice::BoolParam(value)) => Value::Bool(*value),
            Some(ParameterChoice::Int64Param(value)) => Value::Integer((*value).into()),
            Some(ParameterChoice::Uint64Param(value)) => Value::Integer((*value).into()),
            Some(ParameterChoice::StringParam(value)) => Value::Text(value),
            Some(ParameterChoice::DoubleParam(value)) => Value::Float(*value),
            None => Value::Null,
        };
        known.take(custom, owner, name, value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(datatype: &str, contents: Option<InferTensorContents>) -> InferInputTensor {
        InferInputTensor {
            name: "x".into(),
            datatype: datatype.into(),
            shape: vec![1],
            contents,
            ..Default::default()
        }
    }

    #[test]
    fn typed_contents_become_binary() {
        let contents = InferTensorContents { int_contents: vec![-2], ..Default::default() };
        let message = ModelInferRequest {
            inputs: vec![input("INT16", Some(contents))],
            ..Default::default()
        };
        let decoded = decode(message).unwrap();
        assert_eq!(&*decoded.request.inputs[0].data.contiguous(), (-2_i16).to_le_bytes());
    }

    #[test]
    fn inconsistent_messages_are_errors_with_the_reason() {
        let wide = InferTensorContents { int_contents: vec![300], ..Default::default() };
        let raw = || vec![Bytes::from_static(&[1])];
        let error = |input, raw_input_contents| {
            let message =
                ModelInferRequest { inputs: vec![input], raw_input_contents, ..Default::default() };
            decode(message).unwrap_err().to_string()
        };
        assert!(error(input("INT8", Some(wide.clone())), vec![]).contains("300 does not fit"));
        for datatype in DataType::ALL {
            for contents in [wide.clone(), InferTensorContents::default()] {
                let message = error(input(datatype.name(), Some(contents)), raw());
                assert!(message.starts_with("input 'x' has contents"), "{message}");
            }
        }
        for datatype in ["FP32", "UINT8", "BYTES", "FP16"] {
            let message = error(input(datatype, Some(wide.clone())), vec![]);
            assert!(message.contains("elements in int_contents"), "{message}");
        }
        assert!(error(input("FP16", None), vec![]).contains("raw_input_contents only"));
        assert!(error(input("FLOAT", None), raw()).contains("'FLOAT' is not one of"));
        assert!(error(input("INT8", None), [raw(), raw()].concat()).contains("2 raw_input"));
        let negative = InferInputTensor { shape: vec![-1], ..input("INT8", None) };
        assert!(error(negative, raw()).contains("negative"));
    }
}
