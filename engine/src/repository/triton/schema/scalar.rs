//! Single values: numbers, texts, and names of a fixed list.

use super::Form;
use crate::repository::triton::node::Node;
use prost_reflect::{EnumDescriptor, Kind};
use serde_json::Value;

/// Reads a value of a kind.
///
/// # Errors
/// Says what was written, and what belongs there.
pub(super) fn scalar(node: &Node, kind: &Kind, form: Form) -> Result<Value, String> {
    let (Node::Word(written) | Node::Text(written)) = node else {
        return Err(format!("is {}, and must be {}", node.shown(), wanted(kind)));
    };
    let is_text = matches!(node, Node::Text(_));
    if let Kind::Enum(values) = kind {
        if is_text && form == Form::Text {
            return Err(format!("is {} in quotes, and its values have none", node.shown()));
        }
        return name_of(values, written);
    }
    let value = match kind {
        Kind::String => is_text.then(|| Value::from(written.as_str())),
        // JSON writes large numbers in quotes, and keys always.
        _ if is_text && form == Form::Text => None,
        Kind::Bool => boolean(written, form).map(Value::from),
        Kind::Float | Kind::Double => float(written).map(Value::from),
        kind => {
            let (from, to) = range(kind);
            let number = integer(written, form).filter(|number| (from..=to).contains(number));
            number.and_then(|number| {
                let signed = i64::try_from(number).map(Value::from);
                signed.or_else(|_| u64::try_from(number).map(Value::from)).ok()
            })
        }
    };
    value.ok_or_else(|| format!("is {}, and must be {}", node.shown(), wanted(kind)))
}

/// Description of the values of a kind.
fn wanted(kind: &Kind) -> String {
    match kind {
        Kind::String => "a text in quotes".into(),
        Kind::Bool => "true or false".into(),
        Kind::Float | Kind::Double => "a number".into(),
        Kind::Enum(values) => format!("one of {}", all(values)),
        kind => {
            let (from, to) = range(kind);
            format!("a whole number from {from} to {to}")
        }
    }
}

fn all(values: &EnumDescriptor) -> String {
    let names: Vec<String> = values.values().map(|value| value.name().to_owned()).collect();
    names.join(", ")
}

/// Reads the name or the number of a value of a fixed list.
fn name_of(values: &EnumDescriptor, written: &str) -> Result<Value, String> {
    let by_number = || values.get_value(written.parse().ok()?);
    let value = values.get_value_by_name(written).or_else(by_number);
    let unknown = || format!("is {}, and must be one of {}", written.escape_debug(), all(values));
    value.map(|value| Value::from(value.name())).ok_or_else(unknown)
}

fn range(kind: &Kind) -> (i128, i128) {
    match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => (i32::MIN.into(), i32::MAX.into()),
        Kind::Uint32 | Kind::Fixed32 => (0, u32::MAX.into()),
        Kind::Uint64 | Kind::Fixed64 => (0, u64::MAX.into()),
        _ => (i64::MIN.into(), i64::MAX.into()),
    }
}

fn boolean(written: &str, form: Form) -> Option<bool> {
    match written {
        "true" => Some(true),
        "false" => Some(false),
        "True" | "t" | "1" if form == Form::Text => Some(true),
        "False" | "f" | "0" if form == Form::Text => Some(false),
        _ => None,
    }
}

fn integer(written: &str, form: Form) -> Option<i128> {
    let (sign, digits) = written.strip_prefix('-').map_or((1, written), |digits| (-1, digits));
    if digits.starts_with(['-', '+']) {
        return None;
    }
    let hex = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    let octal = digits.strip_prefix('0').filter(|rest| !rest.is_empty());
    let number = match (form, hex, octal) {
        (Form::Text, Some(hex), _) => i128::from_str_radix(hex, 16).ok(),
        (Form::Text, None, Some(octal)) => i128::from_str_radix(octal, 8).ok(),
        _ => digits.parse().ok().or_else(|| whole(digits).filter(|_| form == Form::Json)),
    };
    number.map(|number| sign * number)
}

/// A number such as 8.0 or 1e3, which is whole all the same.
fn whole(written: &str) -> Option<i128> {
    let number: f64 = written.parse().ok()?;
    (number.fract() == 0.0 && number.abs() < 2f64.powi(53)).then_some(number as i128)
}

fn float(written: &str) -> Option<f64> {
    let lower = written.to_ascii_lowercase();
    let is_hex_or_word = lower.starts_with("0x");
    let plain = lower.strip_suffix('f').filter(|rest| !rest.ends_with("in")).unwrap_or(&lower);
    plain.parse().ok().filter(|_| !is_hex_or_word)
}
