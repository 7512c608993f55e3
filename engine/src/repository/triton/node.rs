//! A configuration as written: fields with their lines, before anything is known of their meaning.

use std::fmt;

/// Levels of nesting at most; the schema needs far fewer.
pub(super) const DEPTH_MAX: usize = 32;

/// A field as written.
#[derive(Debug, PartialEq)]
pub(super) struct Field {
    pub(super) name: String,
    /// Line of the name, from 1; `None` in JSON.
    pub(super) line: Option<usize>,
    pub(super) value: Node,
}

/// The value of a field.
#[derive(Debug, PartialEq)]
pub(super) enum Node {
    /// A word or a number without quotes.
    Word(String),
    /// A text in quotes.
    Text(String),
    /// Fields in braces.
    Message(Vec<Field>),
    /// Elements in brackets, with their lines.
    List(Vec<(Option<usize>, Self)>),
    /// JSON's `null`: the field is not there.
    Null,
}

impl Node {
    /// The value as an error shows it.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Word(word) => word.clone(),
            Self::Text(text) => format!("\"{}\"", text.escape_debug()),
            Self::Message(_) => "a group of fields".into(),
            Self::List(_) => "a list".into(),
            Self::Null => "null".into(),
        }
    }
}

/// A mistake in a configuration, with its place.
#[derive(Debug, PartialEq)]
pub(super) struct Mistake {
    /// Line from 1, where it is known.
    pub(super) line: Option<usize>,
    /// Path of the field, such as `input[0].dims`; empty for the whole.
    pub(super) field: String,
    /// Description of the mistake.
    pub(super) problem: String,
}

impl Mistake {
    /// A mistake in a field, whose line is found later.
    pub(super) fn in_field(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { line: None, field: field.into(), problem: problem.into() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.problem)
    }
}
