//! Reads JSON of other requests than inference as values, with the errors of the reader.

use super::fault::Fault;
use super::json::text;
use super::names::Names;
use super::number::Number;
use super::reader::{DEPTH_MAX, Kind, Reader};
use crate::status::Error;
use serde_json::{Map, Value};

/// Reads a body as an object. An empty one, and null, are an empty object.
///
/// # Errors
/// When the body is no JSON or another kind of value, or a name stands in an object twice.
pub(crate) fn object(body: &[u8]) -> Result<Map<String, Value>, Error> {
    let mut reader = Reader::new(text(body)?);
    if body.is_empty() {
        return Ok(Map::new());
    }
    let object = match reader.kind() {
        Kind::Null => reader.null().map(|_| Map::new())?,
        Kind::Object => fields(&mut reader, DEPTH_MAX)?,
        Kind::None => return Err(Error::malformed("the body must be an object in JSON")),
        _ => {
            let wrong = reader.wrong("the body", "an object");
            // What is no JSON at all is told first.
            reader.skip()?;
            reader.end()?;
            return Err(wrong.into());
        }
    };
    reader.end()?;
    Ok(object)
}

fn fields(reader: &mut Reader<'_>, depth: usize) -> Result<Map<String, Value>, Fault> {
    let (mut names, mut fields) = (Names::default(), Map::new());
    reader.object(|reader, name| {
        names.once(name).map_err(Fault::value)?;
        fields.insert(name.to_string(), value(reader, depth)?);
        Ok(())
    })?;
    Ok(fields)
}

/// Reads a value with at most `depth` lists and objects around what it holds.
fn value(reader: &mut Reader<'_>, depth: usize) -> Result<Value, Fault> {
    let deeper = |reader: &Reader<'_>| depth.checked_sub(1).ok_or_else(|| reader.too_deep());
    Ok(match reader.kind() {
        Kind::Null => reader.null().map(|_| Value::Null)?,
        Kind::Bool => reader.bool()?.into(),
        Kind::Text => reader.text()?.into(),
        Kind::Number => number(reader)?,
        Kind::List => {
            let (depth, mut items) = (deeper(reader)?, Vec::new());
            reader.list(|reader| {
                items.push(value(reader, depth)?);
                Ok(())
            })?;
            items.into()
        }
        Kind::Object => {
            let depth = deeper(reader)?;
            fields(reader, depth)?.into()
        }
        Kind::None => return Err(reader.syntax("a value")),
    })
}

fn number(reader: &mut Reader<'_>) -> Result<Value, Fault> {
    let mut before = reader.clone();
    let value = match reader.number()? {
        Number::Integer(value) => match (i64::try_from(value), u64::try_from(value)) {
            (Ok(value), _) => Some(value.into()),
            (_, Ok(value)) => Some(value.into()),
            _ => serde_json::Number::from_f64(value as f64),
        },
        number => serde_json::Number::from_f64(number.to_f64()),
    };
    let value = value.ok_or_else(|| before.wrong("a number", "one that a double holds"))?;
    Ok(Value::Number(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn errors_are_in_the_words_of_the_reader() {
        let error = |body: &str| object(body.as_bytes()).unwrap_err().to_string();
        let whole = "the JSON can not be read: at line 1, column 2, where it ends";
        assert!(error("{").starts_with(whole), "{}", error("{"));
        assert_eq!(error("[1]"), "the body must be an object, not [1]");
        assert_eq!(error(r#"{"a": {"b": 1, "b": 2}}"#), "'b' stands there twice");
        assert!(error(r#"{"a": 1e999}"#).contains("not 1e999"));
        assert!(error(r#"{"a": NaN}"#).contains("not NaN"));
        assert!(error(&format!(r#"{{"a": {}"#, "[".repeat(100_000))).contains("at most 128"));
        assert!(error("{} x").contains("the end of the JSON"));
        assert!(object(b"\xff").is_err());
        assert!(object(b"").unwrap().is_empty() && object(b" null").unwrap().is_empty());
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1e300..1e300).prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(".*", inner, 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn values_are_read_as_they_were_written(fields in prop::collection::btree_map(".*", json(), 0..4)) {
            let map: Map<String, Value> = fields.into_iter().collect();
            let text = Value::Object(map.clone()).to_string();
            prop_assert_eq!(object(text.as_bytes()).unwrap(), map);
        }
    }
}
