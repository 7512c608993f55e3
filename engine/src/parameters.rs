//! Custom parameters of a request: those that the protocol gives no meaning. Policies, logs and
//! traces can read them. A request without any allocates nothing for them.

use smallvec::SmallVec;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Most custom parameters of a request that are kept.
pub const KEPT_MAX: usize = 64;

/// Most bytes of names and values that are kept of a request.
pub const BYTES_MAX: usize = 4096;

/// Bytes that are reserved at once, enough for the parameters of most requests.
const FIRST_BYTES: usize = 128;

/// Value of a parameter, in any protocol.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ParameterValue<'a> {
    /// No value.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Integer(i128),
    /// Any other number.
    Float(f64),
    /// A text.
    Text(&'a str),
    /// A list or an object, as JSON.
    Json(&'a str),
}

/// Part of a request that has parameters. Indices are those in the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterOwner {
    /// The request itself.
    Request,
    /// An input.
    Input(usize),
    /// A requested output.
    Output(usize),
}

/// Custom parameters of one request, within limits of number and size. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct CustomParameters(Option<Arc<Kept>>);

#[derive(Clone, Debug, Default)]
struct Kept {
    /// Names and values, one after the other.
    text: String,
    entries: SmallVec<[Entry; 4]>,
    left_out: usize,
}

#[derive(Clone, Debug)]
struct Entry {
    owner: ParameterOwner,
    name: Range<usize>,
    value: KeptValue,
}

#[derive(Clone, Debug)]
enum KeptValue {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(Range<usize>),
    Json(Range<usize>),
}

impl CustomParameters {
    /// Adds a parameter. One over the limits is counted and left out.
    pub fn push(&mut self, owner: ParameterOwner, name: &str, value: ParameterValue<'_>) {
        let kept = Arc::make_mut(self.0.get_or_insert_default());
        let bytes = name.len() + value.text().map_or(0, str::len);
        if kept.entries.len() == KEPT_MAX || bytes > BYTES_MAX - kept.text.len() {
            kept.left_out += 1;
            return;
        }
        if kept.entries.is_empty() {
            kept.text.reserve(FIRST_BYTES);
        }
        let name = kept.push_text(name);
        let value = match value {
            ParameterValue::Null => KeptValue::Null,
            ParameterValue::Bool(value) => KeptValue::Bool(value),
            ParameterValue::Integer(value) => KeptValue::Integer(value),
            ParameterValue::Float(value) => KeptValue::Float(value),
            ParameterValue::Text(text) => KeptValue::Text(kept.push_text(text)),
            ParameterValue::Json(json) => KeptValue::Json(kept.push_text(json)),
        };
        kept.entries.push(Entry { owner, name, value });
    }

    /// True if the request has none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Number of parameters that were left out, as they were over the limits.
    pub fn left_out(&self) -> usize {
        self.0.as_ref().map_or(0, |kept| kept.left_out)
    }

    /// The kept parameters, in the request's order.
    pub fn iter(&self) -> impl Iterator<Item = (ParameterOwner, &str, ParameterValue<'_>)> {
        self.0.iter().flat_map(|kept| {
            kept.entries.iter().map(|Entry { owner, name, value }| {
                let text = |range: &Range<usize>| &kept.text[range.clone()];
                let value = match value {
                    KeptValue::Null => ParameterValue::Null,
                    KeptValue::Bool(value) => ParameterValue::Bool(*value),
                    KeptValue::Integer(value) => ParameterValue::Integer(*value),
                    KeptValue::Float(value) => ParameterValue::Float(*value),
                    KeptValue::Text(range) => ParameterValue::Text(text(range)),
                    KeptValue::Json(range) => ParameterValue::Json(text(range)),
                };
                (*owner, text(name), value)
            })
        })
    }
}

impl Kept {
    fn push_text(&mut self, text: &str) -> Range<usize> {
        let start = self.text.len();
        self.text.push_str(text);
        start..self.text.len()
    }
}

impl ParameterValue<'_> {
    /// The text or JSON of the value.
    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Json(text) => Some(text),
            _ => None,
        }
    }
}

impl fmt::Display for ParameterValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Json(json) => f.write_str(json),
        }
    }
}

impl fmt::Display for ParameterOwner {
    /// Writes the place of its parameters: nothing for the request, else such as `inputs[0].`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request => Ok(()),
            Self::Input(index) => write!(f, "inputs[{index}]."),
            Self::Output(index) => write!(f, "outputs[{index}]."),
        }
    }
}

impl fmt::Display for CustomParameters {
    /// Writes the parameters in one line, as in `tenant="blue" inputs[0].content_type="np"`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut space = "";
        for (owner, name, value) in self.iter() {
            write!(f, "{space}{owner}{}={value}", name.escape_debug())?;
            space = " ";
        }
        match self.left_out() {
            0 => Ok(()),
            count => write!(f, "{space}({count} more)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_come_back_as_they_were_given() {
        let mut parameters = CustomParameters::default();
        assert!(parameters.is_empty() && parameters.iter().next().is_none());
        let given = [
            (ParameterOwner::Request, "tenant", ParameterValue::Text("blue")),
            (ParameterOwner::Input(1), "weight", ParameterValue::Float(0.5)),
            (ParameterOwner::Output(0), "steps", ParameterValue::Json("[1,2]")),
            (ParameterOwner::Request, "none", ParameterValue::Null),
        ];
        given.iter().for_each(|(owner, name, value)| parameters.push(*owner, name, *value));
        let clone = parameters.clone();
        assert!(clone.iter().eq(given));
        let line = r#"tenant="blue" inputs[1].weight=0.5 outputs[0].steps=[1,2] none=null"#;
        assert_eq!(clone.to_string(), line);
    }

    #[test]
    fn what_is_over_the_limits_is_counted() {
        let mut parameters = CustomParameters::default();
        let long = "x".repeat(BYTES_MAX);
        parameters.push(ParameterOwner::Request, "long", ParameterValue::Text(&long));
        parameters.push(ParameterOwner::Request, "", ParameterValue::Text(&long));
        parameters.push(ParameterOwner::Request, "a", ParameterValue::Bool(true));
        assert_eq!((parameters.iter().count(), parameters.left_out()), (1, 2));
        let mut parameters = CustomParameters::default();
        for _ in 0..KEPT_MAX + 3 {
            parameters.push(ParameterOwner::Request, "a", ParameterValue::Integer(1));
        }
        assert_eq!((parameters.iter().count(), parameters.left_out()), (KEPT_MAX, 3));
        assert!(parameters.to_string().ends_with(" (3 more)"));
    }
}
