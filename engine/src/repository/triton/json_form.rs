//! Reads the JSON form of a configuration, as a client sends it to load a model.

use super::node::{Field, Mistake, Node};
use serde_json::{Map, Value};

/// Reads a configuration.
///
/// # Errors
/// The place of the first mistake of syntax, or that it is no object.
pub(super) fn read(text: &str) -> Result<Vec<Field>, Mistake> {
    let value: Value = serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let problem = match error.is_eof() {
            true => "it ends too early, so it is not valid JSON".into(),
            false => format!("not valid JSON at column {column}"),
        };
        Mistake { line: Some(line.max(1)), field: String::new(), problem }
    })?;
    match value {
        Value::Object(object) => Ok(fields(object)),
        _ => Err(Mistake::in_field("", "the configuration must be a JSON object")),
    }
}

fn fields(object: Map<String, Value>) -> Vec<Field> {
    object.into_iter().map(|(name, value)| Field { name, line: None, value: node(value) }).collect()
}

/// The reader of JSON has limited the depth.
fn node(value: Value) -> Node {
    match value {
        Value::Null => Node::Null,
        Value::Bool(bit) => Node::Word(bit.to_string()),
        Value::Number(number) => Node::Word(number.to_string()),
        Value::String(text) => Node::Text(text),
        Value::Array(items) => {
            Node::List(items.into_iter().map(|item| (None, node(item))).collect())
        }
        Value::Object(object) => Node::Message(fields(object)),
    }
}
