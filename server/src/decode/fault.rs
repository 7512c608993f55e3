//! The error of a part of a request, before it is known which part.

use crate::status::Error;
use std::fmt::Display;

/// A fault in a request.
#[derive(Debug)]
pub(super) enum Fault {
    /// The text is no JSON.
    Syntax(String),
    /// A value that is not what its place needs.
    Value(String),
    /// A parameter that is refused.
    Refused(Error),
}

impl Fault {
    /// The fault of a value.
    pub(super) fn value(message: impl Into<String>) -> Self {
        Self::Value(message.into())
    }

    /// Names the part of the request that a value or a parameter belongs to.
    pub(super) fn of(self, part: impl Display) -> Self {
        match self {
            Self::Value(message) | Self::Refused(Error::Malformed(message)) => {
                Self::Value(format!("{part}: {message}"))
            }
            other => other,
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Syntax(message) | Fault::Value(message) => Self::Malformed(message),
            Fault::Refused(error) => error,
        }
    }
}
