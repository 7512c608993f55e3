//! Parameters of a request. One without effect is an error, so that nobody relies on it.

use crate::status::Error;
use skysail_protocol::parameter;

/// Value of a parameter, in any protocol.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Bool(bool),
    Integer(i128),
    Text(&'a str),
    /// A float, a list, an object or nothing.
    Other,
}

/// Parameters of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parameters {
    pub(crate) timeout_us: Option<u64>,
    pub(crate) priority: u64,
    pub(crate) binary_data_output: bool,
    pub(crate) wants_final_marker: bool,
}

impl Parameters {
    /// Sets one parameter.
    pub(crate) fn set(&mut self, name: &str, value: &Value<'_>) -> Result<(), Error> {
        match name {
            parameter::BINARY_DATA_OUTPUT => self.binary_data_output = boolean(name, value)?,
            parameter::TIMEOUT => {
                self.timeout_us = Some(natural(name, value)?).filter(|&us| us > 0);
            }
            parameter::PRIORITY => self.priority = natural(name, value)?,
            parameter::ENABLE_EMPTY_FINAL_RESPONSE => {
                self.wants_final_marker = boolean(name, value)?;
            }
            parameter::SEQUENCE_ID if no_sequence(value) => {}
            parameter::SEQUENCE_START | parameter::SEQUENCE_END if !boolean(name, value)? => {}
            parameter::SEQUENCE_ID | parameter::SEQUENCE_START | parameter::SEQUENCE_END => {
                return Err(Error::Unsupported(
                    "sequences are not supported: send the state as a tensor".into(),
                ));
            }
            _ => return Err(unknown("the request", name)),
        }
        Ok(())
    }
}

fn no_sequence(value: &Value<'_>) -> bool {
    matches!(value, Value::Integer(0) | Value::Text(""))
}

/// Parameters of an input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct InputParameters {
    pub(crate) binary_data_size: Option<usize>,
}

impl InputParameters {
    /// Sets one parameter.
    pub(crate) fn set(&mut self, name: &str, value: &Value<'_>) -> Result<(), Error> {
        match name {
            parameter::BINARY_DATA_SIZE => {
                let size = natural(name, value)?;
                self.binary_data_size = Some(usize::try_from(size).unwrap_or(usize::MAX));
                Ok(())
            }
            name => Err(shared_memory(name).unwrap_or_else(|| unknown("an input", name))),
        }
    }
}

/// Parameters of a requested output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OutputParameters {
    pub(crate) binary_data: Option<bool>,
}

impl OutputParameters {
    /// Sets one parameter.
    pub(crate) fn set(&mut self, name: &str, value: &Value<'_>) -> Result<(), Error> {
        match name {
            parameter::BINARY_DATA => {
                self.binary_data = Some(boolean(name, value)?);
                Ok(())
            }
            parameter::CLASSIFICATION if natural(name, value)? == 0 => Ok(()),
            parameter::CLASSIFICATION => Err(Error::Unsupported(
                "the classification extension is not supported: sort the scores yourself".into(),
            )),
            name => Err(shared_memory(name).unwrap_or_else(|| unknown("an output", name))),
        }
    }
}

fn shared_memory(name: &str) -> Option<Error> {
    name.starts_with("shared_memory").then(|| {
        Error::Unsupported("shared memory is not supported: send the bytes in the body".into())
    })
}

fn unknown(of: &str, name: &str) -> Error {
    Error::malformed(format!("parameter '{}' of {of} is not known here", name.escape_debug()))
}

fn boolean(name: &str, value: &Value<'_>) -> Result<bool, Error> {
    match value {
        Value::Bool(value) => Ok(*value),
        _ => Err(Error::malformed(format!("parameter '{name}' must be true or false"))),
    }
}

fn natural(name: &str, value: &Value<'_>) -> Result<u64, Error> {
    match value {
        Value::Integer(value) => u64::try_from(*value).ok(),
        _ => None,
    }
    .ok_or_else(|| Error::malformed(format!("parameter '{name}' must be a natural number")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_without_effect_is_an_error_with_its_name() {
        let mut parameters = Parameters::default();
        let error = parameters.set("no_such", &Value::Bool(true)).unwrap_err();
        assert!(error.to_string().contains("'no_such'"));
        assert!(parameters.set("sequence_id", &Value::Integer(7)).is_err());
        assert!(parameters.set("sequence_id", &Value::Integer(0)).is_ok());
        assert!(parameters.set("timeout", &Value::Text("7")).is_err());
        assert!(InputParameters::default().set("shared_memory_region", &Value::Text("r")).is_err());
    }

    #[test]
    fn a_timeout_of_zero_means_no_timeout() {
        let mut parameters = Parameters::default();
        parameters.set("timeout", &Value::Integer(0)).unwrap();
        assert_eq!(parameters.timeout_us, None);
        parameters.set("timeout", &Value::Integer(9)).unwrap();
        assert_eq!(parameters.timeout_us, Some(9));
    }

    #[test]
    fn a_priority_is_any_natural_number() {
        let mut parameters = Parameters::default();
        assert_eq!(parameters.priority, 0);
        for priority in [0, 1, u64::MAX] {
            parameters.set("priority", &Value::Integer(priority.into())).unwrap();
            assert_eq!(parameters.priority, priority);
        }
        let above = Value::Integer(i128::from(u64::MAX) + 1);
        for value in [Value::Integer(-1), above, Value::Text("1"), Value::Bool(true), Value::Other]
        {
            let error = parameters.set("priority", &value).unwrap_err().to_string();
            assert!(error.contains("'priority' must be a natural number"), "{error}");
        }
    }
}
