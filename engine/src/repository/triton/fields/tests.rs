//! Tests that the table has every field of the schema, and that the documentation has the table.

use super::*;
use std::fs;
use std::path::Path;

/// All paths of the schema that end in a value.
fn leaves(schema: &MessageDescriptor, path: &str, found: &mut Vec<String>) {
    for field in schema.fields() {
        let path = match path {
            "" => field.name().to_owned(),
            path => format!("{path}.{}", field.name()),
        };
        match message_of(&field) {
            Some(inside) if inside.fields().len() > 0 => leaves(&inside, &path, found),
            _ => found.push(path),
        }
    }
}

fn all_leaves() -> Vec<String> {
    let mut found = Vec::new();
    leaves(&schema().unwrap(), "", &mut found);
    assert!(found.len() > 100, "{found:?}");
    found
}

#[test]
fn every_field_of_the_schema_has_an_entry() {
    let missing: Vec<String> =
        all_leaves().into_iter().filter(|path| entry(path).is_none()).collect();
    assert!(missing.is_empty(), "no entry for {missing:?}");
}

#[test]
fn every_entry_is_of_a_field() {
    let leaves = all_leaves();
    for (name, _, how) in FIELDS {
        let is_of = |leaf: &String| entry(leaf).is_some_and(|(found, ..)| found == name);
        assert!(leaves.iter().any(is_of), "{name} is of no field, or another is before it");
        assert!(!how.is_empty() && !how.ends_with('.'), "{name}: {how}");
    }
}

/// The table in Markdown.
fn table() -> String {
    let row = |(name, treatment, how): &Entry| {
        let treatment = match treatment {
            Honoured => "honoured",
            Refused => "refused",
            Ignored => "ignored with a warning",
        };
        format!("| `{name}` | {treatment} | {how} |\n")
    };
    let rows: String = FIELDS.iter().map(row).collect();
    format!("| field | here | how |\n|---|---|---|\n{rows}")
}

#[test]
fn the_documentation_has_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/triton.md");
    let text = fs::read_to_string(&path).unwrap_or_default();
    let table = table();
    assert!(text.contains(&table), "{} needs this table:\n{table}", path.display());
}
