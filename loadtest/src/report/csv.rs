//! Report as a CSV table of one row, so that several runs can be joined.

use super::Report;
use serde_json::Value;

impl Report {
    /// Column names and values: every figure of the report that is a single value.
    pub fn csv(&self) -> String {
        let Ok(Value::Object(fields)) = serde_json::to_value(self) else { return String::new() };
        let single = || fields.iter().filter(|(_, value)| !value.is_array() && !value.is_object());
        let names: Vec<&str> = single().map(|(name, _)| &**name).collect();
        let row: Vec<String> = single().map(|(_, value)| cell(value)).collect();
        format!("{}\n{}\n", names.join(","), row.join(","))
    }
}

/// Quotes a cell (RFC 4180).
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => return String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    // Spreadsheets take such a beginning for a formula.
    let text = if text.starts_with(['=', '+', '@']) { format!("'{text}") } else { text };
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_as_many_cells_as_there_are_names() {
        let report = Report { model: "a,\"b\"".into(), answered: 3, ..Report::default() };
        let text = report.csv();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        let place = lines[0].split(',').position(|name| name == "answered").unwrap();
        let row = lines[1].replace("\"a,\"\"b\"\"\"", "model");
        assert_eq!(row.split(',').nth(place), Some("3"));
        assert_eq!(row.split(',').count(), lines[0].split(',').count());
        assert!(!lines[0].contains("intervals") && lines[0].contains("latency_us_p99"));
    }

    #[test]
    fn no_cell_is_a_formula() {
        assert_eq!(cell(&Value::from("=1+1")), "'=1+1");
        assert_eq!(cell(&Value::from(-1.5)), "-1.5");
    }
}
