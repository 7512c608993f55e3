//! Tests of reading JSON.

use super::*;
use proptest::prelude::*;
use serde_json::Value;

fn message(fault: Fault) -> String {
    crate::status::Error::from(fault).to_string()
}

/// Reads a value as serde_json represents it.
fn value(reader: &mut Reader<'_>) -> Result<Value, Fault> {
    Ok(match reader.kind() {
        Kind::Null => reader.null().map(|_| Value::Null)?,
        Kind::Bool => reader.bool()?.into(),
        Kind::Number => match reader.number()? {
            Number::Integer(value) if u64::try_from(value).is_ok() => (value as u64).into(),
            Number::Integer(value) if i64::try_from(value).is_ok() => (value as i64).into(),
            number => number.to_f64().into(),
        },
        Kind::Text => reader.text()?.into(),
        Kind::List => {
            let mut items = Vec::new();
            reader.list(|reader| {
                items.push(value(reader)?);
                Ok(())
            })?;
            items.into()
        }
        Kind::Object => {
            let mut fields = serde_json::Map::new();
            reader.object(|reader, key| {
                fields.insert(key.to_string(), value(reader)?);
                Ok(())
            })?;
            fields.into()
        }
        Kind::None => return Err(reader.syntax("a value")),
    })
}

fn read(json: &str) -> Result<Value, Fault> {
    let mut reader = Reader::new(json);
    let read = value(&mut reader)?;
    reader.end()?;
    Ok(read)
}

fn skipped(json: &str) -> Result<(), Fault> {
    let mut reader = Reader::new(json);
    reader.skip()?;
    reader.end()
}

#[test]
fn texts_have_all_escapes() {
    let json = r#""a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00 ü""#;
    assert_eq!(read(json).unwrap(), Value::from("a\"\\/\u{8}\u{c}\n\r\té😀 ü"));
    for wrong in [r#""\x""#, r#""\u12""#, r#""\u+123""#, r#""\ud83d""#, r#""\udc00""#, "\"a\nb\""] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn an_error_says_where_and_what_should_be_there() {
    let error = |json: &str| message(read(json).unwrap_err());
    assert!(error("{\n \"a\" 1}").contains("line 2, column 6, there should be ':'"));
    assert!(error("[1").contains("column 3, where it ends, there should be ',' or ']'"));
    assert!(error("[1] 2").contains("the end of the JSON"));
    assert!(error("{a: 1}").contains("a name in quotation marks"));
}

#[test]
fn deep_nesting_is_an_error_and_no_stack_overflow() {
    assert!(skipped(&("[".repeat(DEPTH_MAX) + &"]".repeat(DEPTH_MAX))).is_ok());
    for open in ["[", "{\"a\":", "[{\"a\":"] {
        assert!(message(skipped(&open.repeat(100_000)).unwrap_err()).contains("at most 128"));
    }
}

#[test]
fn a_long_value_is_shown_by_its_start() {
    let long = format!("[{}]", "\"ä\", ".repeat(1000));
    let shown = Reader::new(&long).shown();
    assert!(
        shown.starts_with("[\"ä\", ") && shown.ends_with("...") && shown.len() < 100,
        "{shown}"
    );
    assert_eq!(Reader::new(" \"-1\", 3").shown(), "\"-1\"");
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e300..1e300_f64).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..8)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn json_is_read_as_it_was_written(value in json(), pretty in any::<bool>()) {
        let written = match pretty {
            true => serde_json::to_string_pretty(&value).unwrap(),
            false => value.to_string(),
        };
        prop_assert_eq!(read(&written).map_err(message), Ok(value));
        prop_assert!(skipped(&written).is_ok());
    }

    #[test]
    fn damaged_json_is_read_as_serde_json_reads_it(
        value in json(),
        at in any::<prop::sample::Index>(),
        new in "[\\[\\]{}:,\"0-9eE.+ntf\\\\ -]{0,2}",
    ) {
        let mut text = value.to_string();
        let mut at = at.index(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let end = at + text[at..].chars().next().map_or(0, char::len_utf8);
        text.replace_range(at..end, &new);
        let theirs = serde_json::from_str::<Value>(&text);
        // It stops at a number too large for a double, which is for a datatype to refuse here.
        prop_assume!(!theirs.as_ref().is_err_and(|error| error.to_string().contains("range")));
        prop_assert_eq!(read(&text).is_ok(), theirs.is_ok(), "{}", text);
        prop_assert_eq!(skipped(&text).is_ok(), read(&text).is_ok(), "{}", text);
    }
}
