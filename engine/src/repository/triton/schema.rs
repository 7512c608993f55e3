//! Checks a configuration as written against the schema, and gives it one form for all that follows.

use super::node::{Field, Mistake, Node};
use crate::config::FieldLines;
use prost_reflect::{DescriptorPool, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use scalar::scalar;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::OnceLock;

mod scalar;

/// The compiled schema of `server/protocol/proto`, whose tests keep it up to date.
const SCHEMA: &[u8] = include_bytes!("model_config.bin");

/// Messages with at most so many fields have them all in an error.
const LISTED_MAX: usize = 16;

/// The form of a configuration, which decides how a value is spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Protocol Buffers' text format.
    Text,
    /// Protocol Buffers' JSON.
    Json,
}

/// A configuration that fits the schema.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// Fields by the schema's names, without those that have their default.
    pub(super) value: Map<String, Value>,
    /// Lines of the fields.
    pub(super) lines: FieldLines,
}

impl Checked {
    /// Adds the line of its field to a mistake.
    pub(super) fn locate(&self, mistake: Mistake) -> Mistake {
        let line = mistake.line.or_else(|| self.lines.line(&mistake.field));
        Mistake { line, ..mistake }
    }
}

/// The schema of a model's configuration.
///
/// # Errors
/// When the schema in the program cannot be read.
pub(super) fn schema() -> Result<MessageDescriptor, Mistake> {
    static SCHEMA_READ: OnceLock<Option<MessageDescriptor>> = OnceLock::new();
    let read = || DescriptorPool::decode(SCHEMA).ok()?.get_message_by_name("inference.ModelConfig");
    let schema = SCHEMA_READ.get_or_init(read).clone();
    schema.ok_or_else(|| Mistake::in_field("", "the server has no schema"))
}

/// Checks the fields of a configuration.
///
/// # Errors
/// The first field that the schema does not have, or whose value is of another kind.
pub(super) fn check(fields: Vec<Field>, form: Form) -> Result<Checked, Mistake> {
    let mut checker = Checker { form, lines: HashMap::new() };
    let value = checker.message(fields, &schema()?, "")?;
    Ok(Checked { value, lines: checker.lines.into() })
}

struct Checker {
    form: Form,
    lines: HashMap<String, usize>,
}

impl Checker {
    fn message(
        &mut self,
        fields: Vec<Field>,
        schema: &MessageDescriptor,
        path: &str,
    ) -> Result<Map<String, Value>, Mistake> {
        let mut object = Map::new();
        let mut chosen: HashMap<String, String> = HashMap::new();
        for Field { name, line, value } in fields {
            let at = |problem| Mistake { line, field: path.into(), problem };
            let field = self.field_of(schema, &name).ok_or_else(|| at(unknown(schema, &name)))?;
            if value == Node::Null {
                continue;
            }
            let name = field.name();
            let path = join(path, name);
            if let Some(line) = line {
                self.lines.entry(path.clone()).or_insert(line);
            }
            if let Some(choice) = field.containing_oneof()
                && let Some(other) = chosen.insert(choice.name().into(), name.into())
                && other != name
            {
                let problem = format!("it and {other} exclude each other: leave one out");
                return Err(Mistake { line, field: path, problem });
            }
            self.put(&mut object, &field, value, &path)
                .map_err(|mistake| Mistake { line: mistake.line.or(line), ..mistake })?;
        }
        Ok(object)
    }

    fn field_of(&self, schema: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
        let json = || schema.get_field_by_json_name(name).filter(|_| self.form == Form::Json);
        schema.get_field_by_name(name).or_else(json)
    }

    /// Puts the value of a field into its object.
    fn put(
        &mut self,
        object: &mut Map<String, Value>,
        field: &FieldDescriptor,
        node: Node,
        path: &str,
    ) -> Result<(), Mistake> {
        let name = field.name();
        if field.is_map() {
            let entries = object.entry(name).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(entries) = entries else { return Ok(()) };
            return self.entries(entries, field, node, path);
        }
        if field.is_list() {
            let elements = object.entry(name).or_insert_with(|| Value::Array(Vec::new()));
            let Value::Array(elements) = elements else { return Ok(()) };
            return self.elements(elements, field, node, path);
        }
        if object.contains_key(name) {
            return Err(Mistake::in_field(path, "it stands there twice"));
        }
        let value = self.value(node, &field.kind(), path)?;
        if field.containing_oneof().is_some() || !is_default(&value, &field.kind()) {
            object.insert(name.into(), value);
        }
        Ok(())
    }

    fn elements(
        &mut self,
        elements: &mut Vec<Value>,
        field: &FieldDescriptor,
        node: Node,
        path: &str,
    ) -> Result<(), Mistake> {
        let nodes = match node {
            Node::List(nodes) => nodes,
            _ if self.form == Form::Json => {
                let problem = format!("is {}, and must be a list in brackets", node.shown());
                return Err(Mistake::in_field(path, problem));
            }
            single => vec![(None, single)],
        };
        for (line, node) in nodes {
            let path = format!("{path}[{}]", elements.len());
            if let Some(line) = line {
                self.lines.insert(path.clone(), line);
            }
            let value = self.value(node, &field.kind(), &path);
            elements
                .push(value.map_err(|mistake| Mistake { line: mistake.line.or(line), ..mistake })?);
        }
        Ok(())
    }

    /// Puts the entries of a map into its object. In the text format each is a group of a key and
    /// a value, in JSON a field.
    fn entries(
        &mut self,
        entries: &mut Map<String, Value>,
        field: &FieldDescriptor,
        node: Node,
        path: &str,
    ) -> Result<(), Mistake> {
        let Kind::Message(entry) = field.kind() else { return Ok(()) };
        let kind = entry.map_entry_value_field().kind();
        match node {
            Node::Message(fields) if self.form == Form::Json => {
                for Field { name, value, .. } in fields {
                    self.check_key(&entry, &name, path)?;
                    let path = format!("{path}[\"{}\"]", name.escape_debug());
                    let value = self.value(value, &kind, &path)?;
                    entries.insert(name, value);
                }
                Ok(())
            }
            Node::List(nodes) if self.form == Form::Text => {
                nodes.into_iter().try_for_each(|(line, node)| {
                    self.entries(entries, field, node, path)
                        .map_err(|mistake| Mistake { line: mistake.line.or(line), ..mistake })
                })
            }
            Node::Message(fields) => {
                let mut pair = self.message(fields, &entry, path)?;
                let key = match pair.remove("key") {
                    Some(Value::String(key)) => key,
                    Some(key) => key.to_string(),
                    None => {
                        return Err(Mistake::in_field(
                            path,
                            "an entry needs a key, as in key: \"x\"",
                        ));
                    }
                };
                let value = pair.remove("value").unwrap_or_else(|| empty(&kind));
                entries.insert(key, value);
                Ok(())
            }
            other => {
                let problem = match self.form {
                    Form::Text => "each entry is a group { key: ... value: ... }",
                    Form::Json => "must be an object",
                };
                Err(Mistake::in_field(path, format!("is {}: {problem}", other.shown())))
            }
        }
    }

    fn check_key(&self, entry: &MessageDescriptor, key: &str, path: &str) -> Result<(), Mistake> {
        let kind = entry.map_entry_key_field().kind();
        let key = scalar(&Node::Text(key.into()), &kind, self.form);
        key.map(drop).map_err(|problem| Mistake::in_field(path, format!("a key {problem}")))
    }

    fn value(&mut self, node: Node, kind: &Kind, path: &str) -> Result<Value, Mistake> {
        match (kind, node) {
            (Kind::Message(schema), Node::Message(fields)) => {
                Ok(Value::Object(self.message(fields, schema, path)?))
            }
            (Kind::Message(schema), other) => {
                let (shown, fields) = (other.shown(), names(schema));
                let problem = format!("is {shown}, and must be a group of fields{fields}");
                Err(Mistake::in_field(path, problem))
            }
            (kind, node) => {
                let value = scalar(&node, kind, self.form);
                value.map_err(|problem| Mistake::in_field(path, problem))
            }
        }
    }
}

/// The value of a map's entry that gives none.
fn empty(kind: &Kind) -> Value {
    match kind {
        Kind::Message(_) => Value::Object(Map::new()),
        Kind::String => Value::String(String::new()),
        _ => Value::from(0),
    }
}

/// True for a value that is the same as none.
fn is_default(value: &Value, kind: &Kind) -> bool {
    match (value, kind) {
        (Value::String(name), Kind::Enum(values)) => is_first(values, name),
        (Value::String(text), _) => text.is_empty(),
        (Value::Bool(bit), _) => !bit,
        (Value::Number(number), _) => number.as_f64() == Some(0.0),
        _ => false,
    }
}

fn is_first(values: &EnumDescriptor, name: &str) -> bool {
    values.get_value_by_name(name).is_some_and(|value| value.number() == 0)
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.into() } else { format!("{path}.{name}") }
}

fn unknown(schema: &MessageDescriptor, name: &str) -> String {
    let near = schema.fields().map(|field| strsim::jaro_winkler(field.name(), name));
    let near = near.zip(schema.fields()).filter(|(score, _)| *score > 0.85);
    let nearest = near.max_by(|(a, _), (b, _)| a.total_cmp(b));
    let name = name.escape_debug();
    match nearest {
        Some((_, near)) => format!("there is no field '{name}': perhaps {}", near.name()),
        None => format!("there is no field '{name}'{}", names(schema)),
    }
}

/// The fields of a message for an error, if they are few.
fn names(schema: &MessageDescriptor) -> String {
    let names: Vec<String> = schema.fields().map(|field| field.name().to_owned()).collect();
    match names.len() {
        1..=LISTED_MAX => format!("; the fields here are {}", names.join(", ")),
        _ => String::new(),
    }
}
