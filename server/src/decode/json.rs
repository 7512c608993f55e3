//! Decodes the JSON part of HTTP inference requests.

use super::Decoded;
use super::elements::Elements;
use super::parameters::{InputParameters, OutputParameters, Parameters, Value};
use crate::status::Error;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use skysail_engine::payload::Payload;
use skysail_engine::request::InputTensor;
use skysail_engine::tensor::{DataType, Shape};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// Most inputs, or outputs, of one request. A few bytes of JSON take many times their size in
/// memory, so each list has a limit.
const TENSORS_MAX: usize = 4096;
/// Most parameters in one object.
const PARAMETERS_MAX: usize = 64;
/// Most dimensions of one tensor.
const DIMENSIONS_MAX: usize = 64;

/// An input in JSON: with its elements, or with the size of raw elements that follow.
#[derive(Debug)]
pub(super) struct JsonInput {
    pub(super) tensor: InputTensor,
    pub(super) binary_data_size: Option<usize>,
    has_data: bool,
    /// Error in the parameters. It is kept here, as serde has only one kind of error.
    error: Option<Error>,
}

/// Decodes a body of JSON only.
///
/// # Errors
/// When it is not a valid inference request.
pub(crate) fn decode(body: &[u8]) -> Result<Decoded, Error> {
    let (mut decoded, inputs) = header(body)?;
    for input in inputs {
        if input.binary_data_size.is_some() {
            return Err(Error::malformed(format!(
                "input '{}' has binary_data_size, and the request has no header {}",
                input.tensor.name,
                skysail_protocol::HEADER_LENGTH
            )));
        }
        decoded.request.inputs.push(input.with_data()?);
    }
    Ok(decoded)
}

impl JsonInput {
    /// The tensor, whose elements must be in the JSON.
    pub(super) fn with_data(self) -> Result<InputTensor, Error> {
        if self.has_data {
            return Ok(self.tensor);
        }
        Err(Error::malformed(format!("input '{}' has no 'data'", self.tensor.name)))
    }

    /// The tensor, whose elements must be in the bytes that follow.
    pub(super) fn with_bytes(self, data: Payload) -> Result<InputTensor, Error> {
        if self.has_data {
            return Err(Error::malformed(format!(
                "input '{}' has both 'data' and binary_data_size",
                self.tensor.name
            )));
        }
        Ok(InputTensor { data, ..self.tensor })
    }
}

/// Decodes the JSON part, with the inputs apart.
pub(super) fn header(json: &[u8]) -> Result<(Decoded, SmallVec<[JsonInput; 2]>), Error> {
    let text = std::str::from_utf8(json)
        .map_err(|error| Error::malformed(format!("the JSON is not UTF-8: {error}")))?;
    let header: Header<'_> = serde_json::from_str(text)
        .map_err(|error| Error::malformed(format!("the JSON can not be read: {error}")))?;
    let parameters = header.parameters.map(|p| p.fold(Parameters::default(), Parameters::set));
    let parameters = parameters.transpose()?.unwrap_or_default();
    let mut decoded = Decoded {
        id: header.id.unwrap_or_default().into_owned(),
        binary_by_default: parameters.binary_data_output,
        wants_final_marker: parameters.wants_final_marker,
        ..Decoded::default()
    };
    decoded.request.timeout_us = parameters.timeout_us;
    decoded.request.priority = parameters.priority;
    for output in header.outputs.map(|outputs| outputs.0).unwrap_or_default() {
        let parameters =
            output.parameters.map(|p| p.fold(OutputParameters::default(), OutputParameters::set));
        let wanted = parameters.transpose()?.and_then(|parameters| parameters.binary_data);
        decoded.binary.push(wanted.unwrap_or(decoded.binary_by_default));
        decoded.request.outputs.push(output.name.into_owned());
    }
    let inputs = header.inputs.ok_or_else(|| Error::malformed("the JSON has no 'inputs'"));
    let Tensors(mut inputs) = inputs?;
    match inputs.iter_mut().find_map(|input| input.error.take()) {
        Some(error) => Err(error),
        None => Ok((decoded, inputs)),
    }
}

#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    parameters: Option<Pairs<'a>>,
    inputs: Option<Tensors<JsonInput>>,
    #[serde(borrow)]
    outputs: Option<Tensors<Output<'a>>>,
}

#[derive(Deserialize)]
struct Output<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    parameters: Option<Pairs<'a>>,
}

/// An object of parameters, in order.
struct Pairs<'a>(Vec<(Cow<'a, str>, OwnedValue<'a>)>);

/// Value of a parameter in JSON.
enum OwnedValue<'a> {
    Bool(bool),
    Integer(i128),
    Text(Cow<'a, str>),
    Other,
}

impl Pairs<'_> {
    fn fold<T>(
        &self,
        mut into: T,
        set: impl Fn(&mut T, &str, &Value<'_>) -> Result<(), Error>,
    ) -> Result<T, Error> {
        for (name, value) in &self.0 {
            let value = match value {
                OwnedValue::Bool(value) => Value::Bool(*value),
                OwnedValue::Integer(value) => Value::Integer(*value),
                OwnedValue::Text(value) => Value::Text(value),
                OwnedValue::Other => Value::Other,
            };
            set(&mut into, name, &value)?;
        }
        Ok(into)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;
        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of parameters")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    limit(pairs.len(), PARAMETERS_MAX, "parameters in one object")?;
                    pairs.push((name, map.next_value()?));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(PairsVisitor)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for OwnedValue<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        Ok(match raw.as_bytes().first() {
            Some(b't') => Self::Bool(true),
            Some(b'f') => Self::Bool(false),
            Some(b'"') => serde_json::from_str(raw).map_or(Self::Other, Self::Text),
            _ => raw.parse().map_or(Self::Other, Self::Integer),
        })
    }
}

/// A string borrowed where it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// The inputs or the outputs of a request.
struct Tensors<T>(SmallVec<[T; 2]>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Tensors<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TensorsVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for TensorsVisitor<T> {
            type Value = Tensors<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of tensors")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tensors<T>, A::Error> {
                let mut tensors = SmallVec::new();
                while let Some(tensor) = seq.next_element()? {
                    limit(tensors.len(), TENSORS_MAX, "tensors in one array")?;
                    tensors.push(tensor);
                }
                Ok(Tensors(tensors))
            }
        }
        deserializer.deserialize_seq(TensorsVisitor(PhantomData))
    }
}

/// Checks that there is room for one more entry.
fn limit<E: serde::de::Error>(count: usize, most: usize, of: &str) -> Result<(), E> {
    if count < most {
        return Ok(());
    }
    Err(E::custom(format_args!("more than {most} {of}")))
}

impl<'de> Deserialize<'de> for JsonInput {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(InputVisitor)
    }
}

struct InputVisitor;

impl<'de> Visitor<'de> for InputVisitor {
    type Value = JsonInput;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an input with name, shape, datatype and data")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonInput, A::Error> {
        use serde::de::Error as _;
        let (mut name, mut shape, mut datatype) = (None, None, None);
        let (mut parameters, mut wrong) = (InputParameters::default(), None);
        let mut data: Option<Vec<u8>> = None;
        // Data before its datatype is decoded once the datatype is known.
        let mut early: Option<&RawValue> = None;
        while let Some(Name(key)) = map.next_key()? {
            match &*key {
                "name" => once(&mut name, "name", map.next_value::<String>()?)?,
                "shape" => once(&mut shape, "shape", map.next_value::<JsonShape>()?.0)?,
                "datatype" => once(&mut datatype, "datatype", map.next_value::<JsonDataType>()?.0)?,
                "parameters" => {
                    let pairs = map.next_value::<Pairs<'_>>()?;
                    match pairs.fold(parameters, InputParameters::set) {
                        Ok(known) => parameters = known,
                        Err(error) => wrong = Some(error),
                    }
                }
                "data" if data.is_some() || early.is_some() => {
                    return Err(A::Error::duplicate_field("data"));
                }
                "data" => match datatype {
                    Some(datatype) => {
                        let data = data.insert(Vec::new());
                        map.next_value_seed(Elements { datatype, data })?;
                    }
                    None => early = Some(map.next_value()?),
                },
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let name = name.ok_or_else(|| A::Error::missing_field("name"))?;
        let shape = shape.ok_or_else(|| A::Error::missing_field("shape"))?;
        let datatype = datatype.ok_or_else(|| A::Error::missing_field("datatype"))?;
        if let Some(early) = early {
            let mut deserializer = serde_json::Deserializer::from_str(early.get());
            Elements { datatype, data: data.insert(Vec::new()) }
                .deserialize(&mut deserializer)
                .map_err(A::Error::custom)?;
        }
        let has_data = data.is_some();
        let tensor = InputTensor { name, datatype, shape, data: data.unwrap_or_default().into() };
        let binary_data_size = parameters.binary_data_size;
        Ok(JsonInput { tensor, binary_data_size, has_data, error: wrong })
    }
}

/// Sets a field, which must not be set yet.
fn once<T, E: serde::de::Error>(
    field: &mut Option<T>,
    name: &'static str,
    value: T,
) -> Result<(), E> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err(E::duplicate_field(name)),
    }
}

struct JsonShape(Shape);

impl<'de> Deserialize<'de> for JsonShape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ShapeVisitor;
        impl<'de> Visitor<'de> for ShapeVisitor {
            type Value = JsonShape;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a shape: an array of natural numbers")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<JsonShape, A::Error> {
                let mut shape = Shape::new();
                while let Some(dim) = seq.next_element()? {
                    limit(shape.len(), DIMENSIONS_MAX, "dimensions in a shape")?;
                    shape.push(dim);
                }
                Ok(JsonShape(shape))
            }
        }
        deserializer.deserialize_seq(ShapeVisitor)
    }
}

struct JsonDataType(DataType);

impl<'de> Deserialize<'de> for JsonDataType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Name(name) = Name::deserialize(deserializer)?;
        super::datatype(&name).map(Self).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(json: &str) -> String {
        decode(json.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn keys_may_have_any_order() {
        let json = r#"{"outputs": [{"name": "y", "parameters": {"binary_data": true}}],
            "inputs": [{"data": [[1, 2]], "extra": {}, "shape": [1, 2], "datatype": "INT8",
            "name": "x \"q\""}], "id": "7", "parameters": {"timeout": 5}}"#;
        let decoded = decode(json.as_bytes()).unwrap();
        let input = &decoded.request.inputs[0];
        assert_eq!((input.name.as_str(), input.shape.as_slice()), ("x \"q\"", &[1, 2][..]));
        assert_eq!(&*input.data.contiguous(), [1, 2]);
        assert_eq!((decoded.id.as_str(), decoded.request.timeout_us), ("7", Some(5)));
        assert!(decoded.is_binary(0));
    }

    #[test]
    fn every_mistake_has_its_own_message() {
        let input = |fields: &str| format!("{{\"inputs\": [{{\"name\": \"x\", {fields}}}]}}");
        let cases = [
            (error("{"), "can not be read"),
            (error("[]"), "can not be read"),
            (error("{}"), "no 'inputs'"),
            (error(&input("\"shape\": [1], \"data\": [1]")), "missing field `datatype`"),
            (error(&input("\"datatype\": \"INT8\", \"data\": [1]")), "missing field `shape`"),
            (error(&input("\"shape\": [1], \"datatype\": \"INT8\"")), "no 'data'"),
            (error(&input("\"shape\": [-1], \"datatype\": \"INT8\", \"data\": []")), "usize"),
            (error(&input("\"shape\": [1], \"datatype\": \"FLOAT\"")), "'FLOAT' is not one of"),
            (
                error(&input(r#""shape": [1], "datatype": "INT8", "parameters": {"x": 1}"#)),
                "parameter 'x' of an input",
            ),
            (error(r#"{"inputs": [], "parameters": {"magic": 1}}"#), "'magic' of the request"),
            (error(r#"{"inputs": [], "parameters": 3}"#), "an object of parameters"),
            (error(r#"{"inputs": [], "inputs": []}"#), "duplicate field `inputs`"),
            (error(&input("\"name\": \"x\"")), "duplicate field `name`"),
            (error(&input("\"data\": [], \"data\": []")), "duplicate field `data`"),
        ];
        for (message, wanted) in cases {
            assert!(message.contains(wanted), "'{message}' should say '{wanted}'");
        }
    }

    #[test]
    fn an_unsupported_parameter_keeps_its_kind_of_error() {
        let json = r#"{"inputs": [{"name": "x", "datatype": "INT8", "shape": [1],
            "parameters": {"shared_memory_region": "r"}}]}"#;
        assert!(matches!(decode(json.as_bytes()), Err(Error::Unsupported(_))));
    }

    #[test]
    fn invalid_utf8_is_an_error_with_the_reason() {
        assert!(decode(b"{\"id\": \"\xff\"}").unwrap_err().to_string().contains("not UTF-8"));
    }
}
