//! Parameters of a request, its inputs and its outputs. Those that the protocol knows take effect,
//! and all others are kept as custom ones.

use crate::shared_memory::PlaceParameters;
use crate::status::Error;
pub(crate) use skysail_engine::parameters::ParameterValue as Value;
use skysail_engine::parameters::{CustomParameters, ParameterOwner};
use skysail_protocol::parameter;

/// Parameters that the protocol knows, of one kind of owner.
pub(super) trait KnownParameters {
    /// Sets one parameter, and returns true if it is known.
    ///
    /// # Errors
    /// When the value of a known parameter has another type, or the server lacks what it asks for.
    fn set(&mut self, name: &str, value: &Value<'_>) -> Result<bool, Error>;

    /// Sets a known parameter, or keeps a custom one. A known one without a value is absent.
    ///
    /// # Errors
    /// Those of `set`.
    fn take(
        &mut self,
        custom: &mut CustomParameters,
        owner: ParameterOwner,
        name: &str,
        value: Value<'_>,
    ) -> Result<(), Error> {
        if !self.set(name, &value)? {
            custom.push(owner, name, value);
        }
        Ok(())
    }
}

/// Known parameters of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestParameters {
    /// Longest wait in the queue, in microseconds.
    pub(crate) timeout_us: Option<u64>,
    /// Priority: 1 is the highest, and 0 stands for the default.
    pub(crate) priority: u64,
    /// All outputs are to be raw, unless one says otherwise.
    pub(crate) binary_data_output: bool,
    /// BYTES of all outputs are to be base64 in JSON, unless an output says otherwise.
    pub(crate) b64_output: bool,
    /// The response is to mark the end of the request, in a stream.
    pub(crate) wants_final_marker: bool,
}

impl KnownParameters for RequestParameters {
    fn set(&mut self, name: &str, value: &Value<'_>) -> Result<bool, Error> {
        match name {
            parameter::BINARY_DATA_OUTPUT => {
                self.binary_data_output = boolean(name, value)?.unwrap_or(false);
            }
            parameter::B64_OUTPUT => self.b64_output = boolean(name, value)?.unwrap_or(false),
            parameter::TIMEOUT => self.timeout_us = natural(name, value)?.filter(|&us| us > 0),
            parameter::PRIORITY => self.priority = natural(name, value)?.unwrap_or(0),
            parameter::ENABLE_EMPTY_FINAL_RESPONSE => {
                self.wants_final_marker = boolean(name, value)?.unwrap_or(false);
            }
            parameter::SEQUENCE_ID => match value {
                Value::Text(text) if !text.is_empty() => return Err(no_sequences()),
                Value::Text(_) => {}
                _ if natural(name, value)?.is_some_and(|id| id > 0) => return Err(no_sequences()),
                _ => {}
            },
            parameter::SEQUENCE_START | parameter::SEQUENCE_END => {
                if boolean(name, value)? == Some(true) {
                    return Err(no_sequences());
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn no_sequences() -> Error {
    Error::Unsupported("sequences are not supported: send the state as a tensor".into())
}

/// Known parameters of an input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct InputParameters {
    /// Bytes of its raw elements after the JSON.
    pub(crate) binary_data_size: Option<usize>,
    /// Elements of BYTES may be objects with base64.
    pub(crate) b64: bool,
    /// Place of its elements in shared memory, if they are there.
    pub(crate) place: PlaceParameters,
}

impl KnownParameters for InputParameters {
    fn set(&mut self, name: &str, value: &Value<'_>) -> Result<bool, Error> {
        match name {
            parameter::BINARY_DATA_SIZE => {
                let size = natural(name, value)?;
                self.binary_data_size =
                    size.map(|size| usize::try_from(size).unwrap_or(usize::MAX));
            }
            parameter::B64 => self.b64 = boolean(name, value)?.unwrap_or(false),
            name => return self.place.set(name, value),
        }
        Ok(true)
    }
}

/// Known parameters of a requested output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OutputParameters {
    /// The output is to be raw, or not; `None` if the request decides.
    pub(crate) binary_data: Option<bool>,
    /// BYTES are to be base64 in JSON, or not; `None` if the request decides.
    pub(crate) b64: Option<bool>,
    /// Number of the highest classes to return instead of all scores; 0 for the scores.
    pub(crate) classes: usize,
    /// Place for its elements in shared memory, if they go there.
    pub(crate) place: PlaceParameters,
}

impl KnownParameters for OutputParameters {
    fn set(&mut self, name: &str, value: &Value<'_>) -> Result<bool, Error> {
        match name {
            parameter::BINARY_DATA => self.binary_data = boolean(name, value)?,
            parameter::B64 => self.b64 = boolean(name, value)?,
            parameter::CLASSIFICATION => {
                let count = natural(name, value)?.unwrap_or(0);
                self.classes = usize::try_from(count).unwrap_or(usize::MAX);
            }
            name => return self.place.set(name, value),
        }
        Ok(true)
    }
}

/// The value of a parameter that is true or false; `None` if it is null.
fn boolean(name: &str, value: &Value<'_>) -> Result<Option<bool>, Error> {
    match value {
        Value::Null => Ok(None),
        Value::Bool(value) => Ok(Some(*value)),
        _ => Err(wrong_type(name, "true or false", value)),
    }
}

/// The value of a parameter that is a natural number; `None` if it is null.
pub(crate) fn natural(name: &str, value: &Value<'_>) -> Result<Option<u64>, Error> {
    match value {
        Value::Null => Ok(None),
        Value::Integer(number) => u64::try_from(*number)
            .map(Some)
            .map_err(|_| wrong_type(name, "a natural number below 2^64", value)),
        _ => Err(wrong_type(name, "a natural number", value)),
    }
}

/// The value of a parameter that is a text; `None` if it is null.
pub(crate) fn text<'a>(name: &str, value: &Value<'a>) -> Result<Option<&'a str>, Error> {
    match value {
        Value::Null => Ok(None),
        Value::Text(text) => Ok(Some(text)),
        _ => Err(wrong_type(name, "a text", value)),
    }
}

fn wrong_type(name: &str, wanted: &str, value: &Value<'_>) -> Error {
    Error::malformed(format!("parameter '{name}' must be {wanted}, not {}", shown(value)))
}

/// A value for a message, cut if it is long.
fn shown(value: &Value<'_>) -> String {
    const CHARS_MAX: usize = 40;
    let text = value.to_string();
    match text.char_indices().nth(CHARS_MAX) {
        None => text,
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(known: &mut impl KnownParameters, name: &str, value: Value<'_>) -> String {
        known.set(name, &value).unwrap_err().to_string()
    }

    #[test]
    fn known_parameters_of_another_type_are_errors_that_name_them() {
        let mut request = RequestParameters::default();
        for name in ["timeout", "priority", "sequence_id"] {
            for value in [Value::Integer(-1), Value::Bool(true), Value::Float(1.0)] {
                let error = error(&mut request, name, value);
                assert!(error.contains(&format!("'{name}' must be a natural number")), "{error}");
            }
        }
        let above = Value::Integer(i128::from(u64::MAX) + 1);
        assert!(error(&mut request, "priority", above).contains("below 2^64"));
        assert!(error(&mut request, "timeout", Value::Text("7")).ends_with("not \"7\""));
        for name in ["binary_data_output", "b64_output", "sequence_start", "sequence_end"] {
            assert!(error(&mut request, name, Value::Integer(1)).contains("true or false"));
        }
        let (mut input, mut output) = (InputParameters::default(), OutputParameters::default());
        assert!(error(&mut input, "binary_data_size", Value::Text("4")).contains("natural"));
        assert!(error(&mut output, "binary_data", Value::Text("true")).contains("true or false"));
        assert!(error(&mut output, "classification", Value::Text("2")).contains("natural"));
        let long = "x".repeat(10_000);
        assert!(error(&mut output, "b64", Value::Text(&long)).len() < 120);
    }

    #[test]
    fn null_means_absent() {
        let mut request = RequestParameters::default();
        for name in ["timeout", "priority", "sequence_id", "sequence_end", "binary_data_output"] {
            assert!(request.set(name, &Value::Null).unwrap());
        }
        assert_eq!(request, RequestParameters::default());
        let mut input = InputParameters::default();
        assert!(input.set("binary_data_size", &Value::Null).unwrap());
        assert_eq!(input, InputParameters::default());
        let mut output = OutputParameters::default();
        for name in ["binary_data", "classification", "b64"] {
            assert!(output.set(name, &Value::Null).unwrap());
        }
        assert_eq!(output, OutputParameters::default());
    }

    #[test]
    fn custom_parameters_are_kept() {
        let mut custom = CustomParameters::default();
        let mut request = RequestParameters::default();
        let owner = ParameterOwner::Request;
        request.take(&mut custom, owner, "timeout", Value::Integer(5)).unwrap();
        assert!(custom.is_empty());
        request.take(&mut custom, owner, "tenant", Value::Text("blue")).unwrap();
        assert!(custom.iter().eq([(owner, "tenant", Value::Text("blue"))]));
        assert_eq!(request.timeout_us, Some(5));
    }

    #[test]
    fn a_timeout_of_zero_means_no_timeout() {
        let mut parameters = RequestParameters::default();
        parameters.set("timeout", &Value::Integer(0)).unwrap();
        assert_eq!(parameters.timeout_us, None);
        parameters.set("timeout", &Value::Integer(9)).unwrap();
        assert_eq!(parameters.timeout_us, Some(9));
    }

    #[test]
    fn a_priority_is_any_natural_number() {
        let mut parameters = RequestParameters::default();
        for priority in [0, 1, u64::MAX] {
            parameters.set("priority", &Value::Integer(priority.into())).unwrap();
            assert_eq!(parameters.priority, priority);
        }
    }

    #[test]
    fn no_sequence_is_fine_and_a_sequence_is_refused() {
        let mut parameters = RequestParameters::default();
        assert!(parameters.set("sequence_id", &Value::Integer(0)).unwrap());
        assert!(parameters.set("sequence_id", &Value::Text("")).unwrap());
        assert!(parameters.set("sequence_id", &Value::Integer(7)).is_err());
        assert!(parameters.set("sequence_id", &Value::Text("a")).is_err());
        assert!(parameters.set("sequence_start", &Value::Bool(true)).is_err());
    }
}
