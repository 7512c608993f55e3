//! The files of `deploy/`: paths, and names of metrics in them.

#![allow(dead_code, reason = "each file of tests uses its own part")]

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Path of a file.
pub(crate) fn path(file: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy")).join(file)
}

/// Text of a file.
pub(crate) fn text(file: &str) -> String {
    std::fs::read_to_string(path(file)).unwrap()
}

/// Queries of the Grafana dashboard, with all jobs and models selected.
pub(crate) fn dashboard_queries() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&text("grafana/skysail.json")).unwrap();
    let mut queries = Vec::new();
    collect(&dashboard, &mut queries);
    queries
}

fn collect(value: &Value, queries: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            let query = fields.get("expr").and_then(Value::as_str);
            queries.extend(query.map(|text| {
                text.replace("$__rate_interval", "1m").replace("$job", ".*").replace("$model", ".*")
            }));
            fields.values().for_each(|field| collect(field, queries));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, queries)),
        _ => {}
    }
}

/// Names of the server's metrics in a text, without the suffixes of histograms.
pub(crate) fn metric_names(text: &str) -> BTreeSet<String> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let is_metric = |word: &&str| {
        let prefixes = ["skysail_", "nv_", "process_"];
        !word.contains(':') && prefixes.iter().any(|prefix| word.starts_with(prefix))
    };
    let base = |word: &str| {
        let endings = ["_bucket", "_count", "_sum"];
        let is_histogram = |base: &&str| base.ends_with("_seconds") || base.ends_with("_rows");
        let bases = endings.iter().filter_map(|ending| word.strip_suffix(ending));
        bases.into_iter().find(is_histogram).unwrap_or(word).to_owned()
    };
    text.split(|c| !is_word(c)).filter(is_metric).map(base).collect()
}
