//! Reads Triton's model configuration, as text (`config.pbtxt`) or JSON. Settings without effect
//! are named in warnings, mistakes with their line and field.

use crate::config::ModelConfig;
use node::{Field, Mistake};
use schema::{Checked, Form};
use serde::Deserialize;
use serde_json::Value;
use settings::TritonConfig;
use std::sync::Arc;

mod convert;
mod fields;
mod json_form;
mod node;
mod schema;
mod settings;
mod text_form;

#[cfg(test)]
mod tests;

/// Settings, and warnings about those without effect.
type Read = Result<(ModelConfig, Vec<String>), String>;

/// Mark that some editors write at the start of a file.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Reads the text form.
pub(super) fn from_text(text: &str, model: &str) -> Read {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    read(text_form::read(text), Form::Text, model)
}

/// Reads the JSON form.
pub(super) fn from_json(text: &str, model: &str) -> Read {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let read = read(json_form::read(text), Form::Json, model);
    read.map_err(|error| format!("the configuration: {error}"))
}

fn read(fields: Result<Vec<Field>, Mistake>, form: Form, model: &str) -> Read {
    let checked = fields.and_then(|fields| schema::check(fields, form));
    let checked = checked.map_err(|mistake| mistake.to_string())?;
    settings_of(&checked, model).map_err(|mistake| checked.locate(mistake).to_string())
}

fn settings_of(checked: &Checked, model: &str) -> Result<(ModelConfig, Vec<String>), Mistake> {
    let mut warnings = fields::judge(&checked.value)?;
    let value = Value::Object(checked.value.clone());
    // The schema has checked it: this fails only where the two differ.
    let triton = TritonConfig::deserialize(&value)
        .map_err(|_| Mistake::in_field("", "the configuration can not be read"))?;
    let mut config = convert::convert(triton, model, &mut warnings)?;
    config.declared = Some(Arc::new(value));
    config.lines = checked.lines.clone();
    Ok((config, warnings))
}
