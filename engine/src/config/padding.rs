//! Settings of padding.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;

/// Padding, with which requests of different sizes share runs. Without inputs they do not.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PaddingConfig {
    /// Inputs that are padded in their open dimensions except the first, with the fill value.
    pub inputs: BTreeMap<String, Fill>,
}

/// Fill value of a padded input.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged, expecting = "a number or a boolean")]
pub enum Fill {
    /// `true` or `false`.
    Bool(bool),
    /// A number without a fraction.
    Integer(i64),
    /// A number with a fraction, `inf` or `nan`.
    Float(f64),
}

/// Compares bits, so that `nan` equals `nan` and unchanged settings are equal.
impl PartialEq for Fill {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Integer(a), Self::Integer(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => a.to_bits() == b.to_bits(),
            _ => false,
        }
    }
}

impl fmt::Display for Fill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(bit) => write!(f, "{bit}"),
            Self::Integer(integer) => write!(f, "{integer}"),
            Self::Float(float) => write!(f, "{float}"),
        }
    }
}
