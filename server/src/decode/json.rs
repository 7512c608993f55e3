//! Decodes the JSON part of HTTP inference requests.

use super::Decoded;
use super::elements::{self, AnyNesting};
use super::fault::Fault;
use super::names::Names;
use super::number::Number;
use super::parameters::{InputParameters, KnownParameters, OutputParameters, Value};
use super::reader::{Kind, Reader};
use crate::status::Error;
use skysail_engine::parameters::{CustomParameters, ParameterOwner};
use skysail_engine::payload::Payload;
use skysail_engine::request::InputTensor;
use skysail_engine::tensor::{DataType, Shape};
use skysail_protocol::parameter;
use smallvec::SmallVec;

/// Most inputs, or outputs, of one request. A few bytes of JSON take many times their size in
/// memory, so each list has a limit.
const TENSORS_MAX: usize = 4096;
/// Most dimensions of one tensor.
const DIMENSIONS_MAX: usize = 64;

/// An input in JSON: with its elements, or with the size of raw elements that follow.
#[derive(Debug)]
pub(super) struct JsonInput {
    pub(super) tensor: InputTensor,
    pub(super) parameters: InputParameters,
    /// True if its elements came with it.
    pub(super) has_data: bool,
}

/// Decodes a body of JSON only.
///
/// # Errors
/// When it is not a valid inference request.
pub(crate) fn decode(body: &[u8]) -> Result<Decoded, Error> {
    let (mut decoded, inputs) = header(body)?;
    for mut input in inputs {
        if input.parameters.binary_data_size.is_some() {
            return Err(Error::malformed(format!(
                "input '{}' has binary_data_size, and the request has no header {}",
                input.tensor.name,
                skysail_protocol::HEADER_LENGTH
            )));
        }
        decoded.push_input(input.tensor, &mut input.parameters, input.has_data)?;
    }
    Ok(decoded)
}

impl JsonInput {
    /// The tensor, whose elements must be in the bytes that follow.
    pub(super) fn with_bytes(self, data: Payload) -> Result<Self, Error> {
        if self.has_data {
            return Err(Error::malformed(format!(
                "input '{}' has both 'data' and binary_data_size",
                self.tensor.name
            )));
        }
        Ok(Self { tensor: InputTensor { data, ..self.tensor }, has_data: true, ..self })
    }
}

/// The text of a body of JSON.
pub(super) fn text(json: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(json).map_err(|error| {
        Error::malformed(format!("the JSON is not UTF-8 after {} bytes", error.valid_up_to()))
    })
}

/// Decodes the JSON part, with the inputs apart.
pub(super) fn header(json: &[u8]) -> Result<(Decoded, SmallVec<[JsonInput; 2]>), Error> {
    let mut reader = Reader::new(text(json)?);
    if reader.kind() != Kind::Object {
        return Err(reader.wrong("the body", "an object with 'inputs'").into());
    }
    let mut decoded = Decoded::default();
    let mut inputs = SmallVec::new();
    let mut outputs: SmallVec<[_; 2]> = SmallVec::new();
    let mut seen = Seen::default();
    let mut has_inputs = false;
    reader.object(|reader, key| {
        let field = seen.once(key)?;
        if reader.null()? {
            return Ok(());
        }
        let custom = &mut decoded.request.parameters;
        match field {
            Field::Id => match reader.kind() {
                Kind::Text => decoded.id = reader.text()?.into_owned(),
                _ => return Err(reader.wrong("'id'", "a text")),
            },
            Field::Parameters => {
                parameters(reader, &mut decoded.parameters, custom, ParameterOwner::Request)?;
            }
            Field::Inputs => {
                has_inputs = true;
                tensors(reader, "inputs", |reader, index| {
                    inputs.push(input(reader, index, custom)?);
                    Ok(())
                })?;
            }
            Field::Outputs => tensors(reader, "outputs", |reader, index| {
                outputs.push(output(reader, index, custom)?);
                Ok(())
            })?,
            _ => drop(reader.skip()?),
        }
        Ok(())
    })?;
    reader.end()?;
    if !has_inputs {
        let hint = match seen.has(Field::Instances) {
            true => "; 'instances' are for POST /v1/models/NAME:predict",
            false => "",
        };
        return Err(Error::malformed(format!("the JSON has no 'inputs'{hint}")));
    }
    for (name, known) in outputs {
        decoded.push_output(name, known)?;
    }
    decoded.request.timeout_us = decoded.parameters.timeout_us;
    decoded.request.priority = decoded.parameters.priority;
    Ok((decoded, inputs))
}

/// Field of a request, an input or an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Id,
    Parameters,
    Inputs,
    Outputs,
    Name,
    Shape,
    Datatype,
    Data,
    /// Field of the V1 protocol.
    Instances,
    /// A field that has no meaning.
    Other,
}

impl Field {
    fn of(key: &str) -> Self {
        match key {
            "id" => Self::Id,
            "parameters" => Self::Parameters,
            "inputs" => Self::Inputs,
            "outputs" => Self::Outputs,
            "name" => Self::Name,
            "shape" => Self::Shape,
            "datatype" => Self::Datatype,
            "data" => Self::Data,
            "instances" => Self::Instances,
            _ => Self::Other,
        }
    }
}

/// Fields that an object has had, one bit each.
#[derive(Default)]
struct Seen(u16);

impl Seen {
    /// Marks the field of a key, which must be new if it has a meaning.
    fn once(&mut self, key: &str) -> Result<Field, Fault> {
        let field = Field::of(key);
        if self.has(field) && field != Field::Other {
            return Err(Fault::value(format!("'{key}' stands there twice")));
        }
        self.0 |= 1 << field as u16;
        Ok(field)
    }

    fn has(&self, field: Field) -> bool {
        self.0 & (1 << field as u16) != 0
    }
}

/// Reads a list of inputs or outputs, each by `each` with its index.
fn tensors(
    reader: &mut Reader<'_>,
    field: &str,
    mut each: impl FnMut(&mut Reader<'_>, usize) -> Result<(), Fault>,
) -> Result<(), Fault> {
    if reader.kind() != Kind::List {
        return Err(reader.wrong(&format!("'{field}'"), "a list of objects"));
    }
    let mut count = 0;
    reader.list(|reader| {
        if count == TENSORS_MAX {
            return Err(Fault::value(format!("more than {TENSORS_MAX} {field}")));
        }
        if reader.kind() != Kind::Object {
            return Err(reader.wrong(&format!("{field}[{count}]"), "an object"));
        }
        each(reader, count)?;
        count += 1;
        Ok(())
    })
}

/// Reads an object of parameters, each of which has a name of its own.
fn parameters(
    reader: &mut Reader<'_>,
    known: &mut impl KnownParameters,
    custom: &mut CustomParameters,
    owner: ParameterOwner,
) -> Result<(), Fault> {
    if reader.kind() != Kind::Object {
        return Err(reader.wrong("'parameters'", "an object"));
    }
    let mut names = Names::default();
    reader.object(|reader, name| {
        names.once(name).map_err(|problem| Fault::value(format!("parameter {problem}")))?;
        let text;
        let before = reader.clone();
        let value = match reader.kind() {
            Kind::Null => reader.null().map(|_| Value::Null)?,
            Kind::Bool => Value::Bool(reader.bool()?),
            Kind::Number => match reader.number()? {
                Number::Integer(value) => Value::Integer(value),
                // Of a number that no double holds, its text is left.
                number @ Number::Decimal(_) if number.to_f64().is_infinite() => {
                    Value::Json({ before }.skip()?)
                }
                number => Value::Float(number.to_f64()),
            },
            Kind::Text => {
                text = reader.text()?;
                Value::Text(&text)
            }
            Kind::List | Kind::Object | Kind::None => Value::Json(reader.skip()?),
        };
        Ok(known.take(custom, owner, name, value)?)
    })
}

/// Reads a requested output: its name and its known parameters.
fn output(
    reader: &mut Reader<'_>,
    index: usize,
    custom: &mut CustomParameters,
) -> Result<(String, OutputParameters), Fault> {
    let (mut name, mut known) = (None, OutputParameters::default());
    let mut seen = Seen::default();
    let read = reader.object(|reader, key| {
        let field = seen.once(key)?;
        if reader.null()? {
            return Ok(());
        }
        match field {
            Field::Name => name = Some(tensor_name(reader)?),
            Field::Parameters => {
                parameters(reader, &mut known, custom, ParameterOwner::Output(index))?;
            }
            _ => drop(reader.skip()?),
        }
        Ok(())
    });
    read.map_err(|fault| fault.of(part("output", name.as_deref(), index)))?;
    let name = name.ok_or_else(|| Fault::value(format!("outputs[{index}] has no 'name'")))?;
    Ok((name, known))
}

/// Reads an input.
fn input(
    reader: &mut Reader<'_>,
    index: usize,
    custom: &mut CustomParameters,
) -> Result<JsonInput, Fault> {
    let mut fields = InputFields::default();
    let read = fields.read(reader, index, custom);
    read.map_err(|fault| fault.of(part("input", fields.name.as_deref(), index)))?;
    let name = fields.name.ok_or_else(|| Fault::value(format!("inputs[{index}] has no 'name'")))?;
    let missing = |field: &str| {
        Fault::value(format!("{} has no '{field}'", part("input", Some(&name), index)))
    };
    let shape = fields.shape.ok_or_else(|| missing("shape"))?;
    let datatype = fields.datatype.ok_or_else(|| missing("datatype"))?;
    let has_data = fields.data.is_some();
    let data = fields.data.unwrap_or_default().into();
    let tensor = InputTensor { name, datatype, shape, data };
    Ok(JsonInput { tensor, parameters: fields.parameters, has_data })
}

/// Fields of an input as far as they are read.
#[derive(Default)]
struct InputFields<'a> {
    name: Option<String>,
    shape: Option<Shape>,
    datatype: Option<DataType>,
    parameters: InputParameters,
    data: Option<Vec<u8>>,
    /// Place of data that stands before its datatype. It is read at the end.
    early: Option<Reader<'a>>,
    any_base64: bool,
}

impl<'a> InputFields<'a> {
    fn read(
        &mut self,
        reader: &mut Reader<'a>,
        index: usize,
        custom: &mut CustomParameters,
    ) -> Result<(), Fault> {
        let mut seen = Seen::default();
        reader.object(|reader, key| {
            let field = seen.once(key)?;
            if reader.null()? {
                return Ok(());
            }
            match field {
                Field::Name => self.name = Some(tensor_name(reader)?),
                Field::Shape => self.shape = Some(shape(reader)?),
                Field::Datatype => self.datatype = Some(datatype(reader)?),
                Field::Parameters => {
                    let owner = ParameterOwner::Input(index);
                    parameters(reader, &mut self.parameters, custom, owner)?;
                }
                Field::Data => match self.datatype {
                    Some(datatype) => self.read_data(reader, datatype)?,
                    None => {
                        self.early = Some(reader.clone());
                        reader.skip()?;
                    }
                },
                _ => drop(reader.skip()?),
            }
            Ok(())
        })?;
        if let (Some(mut early), Some(datatype)) = (self.early.take(), self.datatype) {
            self.read_data(&mut early, datatype)?;
        }
        if self.any_base64 && !self.parameters.b64 {
            return Err(Fault::value(format!(
                "'data' holds an object: base64 needs the input's parameter \"{}\": true",
                parameter::B64
            )));
        }
        Ok(())
    }

    fn read_data(&mut self, reader: &mut Reader<'_>, datatype: DataType) -> Result<(), Fault> {
        let mut data = Vec::with_capacity(self.expected_bytes(datatype, reader.left()));
        self.any_base64 = elements::read(reader, datatype, &mut data, &mut AnyNesting)?;
        self.data = Some(data);
        Ok(())
    }

    /// Bytes of the shape's elements, at most what `left` bytes of JSON can hold.
    fn expected_bytes(&self, datatype: DataType, left: usize) -> usize {
        let element_bytes = datatype.element_bytes().unwrap_or(0);
        let product = |count: usize, dim: &usize| count.checked_mul(*dim);
        let elements = self.shape.as_ref().and_then(|shape| shape.iter().try_fold(1, product));
        // An element and its comma are two characters at least.
        elements.unwrap_or(0).min(left / 2 + 1).saturating_mul(element_bytes)
    }
}

/// A part of the request in messages: by its name, or else by its place.
fn part(kind: &str, name: Option<&str>, index: usize) -> String {
    match name {
        Some(name) => format!("{kind} '{}'", name.escape_debug()),
        None => format!("{kind}s[{index}]"),
    }
}

fn tensor_name(reader: &mut Reader<'_>) -> Result<String, Fault> {
    match reader.kind() {
        Kind::Text => Ok(reader.text()?.into_owned()),
        _ => Err(reader.wrong("'name'", "a text")),
    }
}

fn shape(reader: &mut Reader<'_>) -> Result<Shape, Fault> {
    const NATURAL: &str = "a list of natural numbers";
    if reader.kind() != Kind::List {
        return Err(reader.wrong("'shape'", NATURAL));
    }
    let mut before = reader.clone();
    let mut shape = Shape::new();
    reader.list(|reader| {
        if shape.len() == DIMENSIONS_MAX {
            return Err(Fault::value(format!("'shape' has more than {DIMENSIONS_MAX} dimensions")));
        }
        let dim = match reader.kind() {
            Kind::Number => reader.number()?,
            Kind::None => return Err(reader.syntax("a number")),
            _ => return Err(before.wrong("'shape'", NATURAL)),
        };
        let natural = match dim {
            Number::Integer(dim) => usize::try_from(dim).ok(),
            _ => None,
        };
        shape.push(natural.ok_or_else(|| before.wrong("'shape'", NATURAL))?);
        Ok(())
    })?;
    Ok(shape)
}

fn datatype(reader: &mut Reader<'_>) -> Result<DataType, Fault> {
    match reader.kind() {
        Kind::Text => super::datatype(&reader.text()?).map_err(Fault::value),
        _ => Err(reader.wrong("'datatype'", "a text such as FP32")),
    }
}

#[cfg(test)]
mod tests;
