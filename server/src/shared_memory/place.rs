//! Where a request's tensors lie in shared memory, as its parameters say.

use crate::decode::parameters::{Value, natural, text};
use crate::status::Error;
use skysail_protocol::parameter;

/// The place of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Name of the region.
    pub(crate) region: String,
    /// Start in the region, in bytes.
    pub(crate) offset: u64,
    /// Bytes of an input, or those that an output may take.
    pub(crate) byte_size: u64,
}

/// Places of a request's tensors, by the index of the input or output in the request.
#[derive(Debug, Default)]
pub(crate) struct Places {
    pub(crate) inputs: Vec<(usize, Place)>,
    pub(crate) outputs: Vec<(usize, Place)>,
}

/// The parameters of one tensor that make its place. Without any, nothing is allocated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PlaceParameters(Option<Box<Given>>);

/// Parameters that the request gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Given {
    region: Option<String>,
    offset: Option<u64>,
    byte_size: Option<u64>,
}

impl PlaceParameters {
    /// Sets one parameter; returns false if it is another kind of parameter.
    ///
    /// # Errors
    /// When its value has the wrong type.
    pub(crate) fn set(&mut self, name: &str, value: &Value<'_>) -> Result<bool, Error> {
        let given = &mut self.0;
        match name {
            parameter::SHARED_MEMORY_REGION => {
                given.get_or_insert_default().region = text(name, value)?.map(Into::into);
            }
            parameter::SHARED_MEMORY_OFFSET => {
                given.get_or_insert_default().offset = natural(name, value)?;
            }
            parameter::SHARED_MEMORY_BYTE_SIZE => {
                given.get_or_insert_default().byte_size = natural(name, value)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Takes the place out, if the parameters name one. The `kind` of tensor and its name are for the
    /// message.
    ///
    /// # Errors
    /// When one of them is missing.
    pub(crate) fn take(&mut self, kind: &str, tensor: &str) -> Result<Option<Place>, Error> {
        let Some(given) = self.0.take() else { return Ok(None) };
        match *given {
            Given { region: Some(region), offset, byte_size: Some(byte_size) } => {
                Ok(Some(Place { region, offset: offset.unwrap_or(0), byte_size }))
            }
            Given { region: None, offset: None, byte_size: None } => Ok(None),
            _ => Err(Error::malformed(format!(
                "{kind} '{}' needs both parameters {} and {}",
                tensor.escape_debug(),
                parameter::SHARED_MEMORY_REGION,
                parameter::SHARED_MEMORY_BYTE_SIZE
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(parameters: &[(&str, Value<'_>)]) -> Result<Option<Place>, String> {
        let mut all = PlaceParameters::default();
        for (name, value) in parameters {
            assert!(all.set(name, value).map_err(|error| error.to_string())?);
        }
        all.take("input", "x").map_err(|error| error.to_string())
    }

    #[test]
    fn an_offset_may_be_left_out() {
        let region = ("shared_memory_region", Value::Text("r"));
        let size = ("shared_memory_byte_size", Value::Integer(9));
        let wanted = Place { region: "r".into(), offset: 0, byte_size: 9 };
        assert_eq!(place(&[size, region]), Ok(Some(wanted)));
        assert_eq!(place(&[]), Ok(None));
        for one in [region, size, ("shared_memory_offset", Value::Integer(0))] {
            assert!(place(&[one]).unwrap_err().contains("input 'x' needs both parameters"));
        }
    }

    #[test]
    fn values_of_the_wrong_type_are_errors() {
        for (name, value) in [
            ("shared_memory_region", Value::Integer(1)),
            ("shared_memory_offset", Value::Integer(-1)),
            ("shared_memory_byte_size", Value::Text("1")),
            ("shared_memory_byte_size", Value::Integer(i128::from(u64::MAX) + 1)),
        ] {
            assert!(place(&[(name, value)]).unwrap_err().contains(name));
        }
    }

    #[test]
    fn other_parameters_are_not_taken() {
        assert!(!PlaceParameters::default().set("shared", &Value::Bool(true)).unwrap());
    }
}
