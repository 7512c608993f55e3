//! Checks of the `Cargo.toml` files: versions stand in the root's, and all of them are used.

use super::{Finding, Source};
use std::collections::HashSet;

const ROOT: &str = "Cargo.toml";

/// Checks the manifests among `sources`.
pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    // A manifest with a workspace of its own is no crate of this one.
    let is_own_workspace =
        |source: &Source| source.text.lines().any(|line| line.trim() == "[workspace]");
    let is_crate =
        |source: &&Source| source.path.ends_with("/Cargo.toml") && !is_own_workspace(source);
    let crates = || sources.iter().filter(is_crate);
    let mut findings: Vec<_> = crates().flat_map(check_crate).collect();
    let used: HashSet<&str> =
        crates().flat_map(entries).filter_map(|entry| entry.dependency()).collect();
    let root = sources.iter().find(|source| source.path == ROOT);
    for entry in root.iter().flat_map(|root| entries(root)) {
        if entry.section == "workspace.dependencies" && !used.contains(entry.key) {
            let what = format!("no crate uses `{}`: delete it", entry.key);
            findings.push(Finding { path: ROOT.to_owned(), line: entry.index + 1, what });
        }
    }
    findings
}

/// A line `key = value` and the section it stands in.
struct Entry<'a> {
    section: &'a str,
    key: &'a str,
    value: &'a str,
    /// The line, counted from 0.
    index: usize,
}

impl<'a> Entry<'a> {
    /// The dependency that the entry names, if it names one.
    fn dependency(&self) -> Option<&'a str> {
        let is_dependency = self.section.ends_with("dependencies");
        is_dependency.then(|| self.key.split('.').next().unwrap_or(self.key))
    }

    /// Returns true if the entry inherits from the workspace.
    fn is_inherited(&self) -> bool {
        self.key.ends_with(".workspace") && self.value == "true"
            || self.value.contains("workspace = true")
    }
}

fn check_crate(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut has_lints = false;
    for entry in entries(source) {
        has_lints |= matches!(
            (entry.section, entry.key, entry.value),
            ("lints", "workspace", "true") | ("", "lints.workspace", "true")
        );
        // The crates with unsafe code cannot take the workspace's lints, which forbid it.
        has_lints |= source.may_be_unsafe() && entry.section.starts_with("lints.");
        if entry.section.contains("dependencies.") {
            findings.push(source.finding(entry.index, "write the dependency on one line"));
        }
        if let Some(name) = entry.dependency().filter(|_| !entry.is_inherited()) {
            let what =
                format!("write `{name}.workspace = true`, with the version in the root's {ROOT}");
            findings.push(source.finding(entry.index, what));
        }
    }
    if !has_lints {
        findings.push(source.finding(0, "add `lints.workspace = true`"));
    }
    findings
}

/// The entries of a manifest. A line that continues a list has no `key =` and is left out.
fn entries(source: &Source) -> impl Iterator<Item = Entry<'_>> {
    let mut section = "";
    source.text.lines().enumerate().filter_map(move |(index, line)| {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            section = header;
            return None;
        }
        let (key, value) = line.split_once('=')?;
        let (key, value) = (key.trim(), value.trim());
        let is_key = |c: char| c.is_alphanumeric() || "-_.".contains(c);
        key.chars().all(is_key).then_some(Entry { section, key, value, index })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINTS: &str = "[lints]\nworkspace = true\n";

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let source =
            |(path, text): &(&str, &str)| Source { path: (*path).into(), text: (*text).into() };
        let sources: Vec<_> = files.iter().map(source).collect();
        let place = |finding: &Finding| format!("{}:{}", finding.path, finding.line);
        check(&sources).iter().map(place).collect()
    }

    #[test]
    fn versions_stand_in_the_root_only() {
        for (dependency, fine) in [
            ("a.workspace = true", true),
            ("a = { workspace = true, features = [\n \"b\",\n] }", true),
            ("# a = \"1\"", true),
            ("a = \"1\"", false),
            ("a = { path = \"../a\" }", false),
        ] {
            for section in ["dependencies", "dev-dependencies", "target.'cfg(unix)'.dependencies"] {
                let text = format!("{LINTS}[{section}]\n{dependency}");
                let wanted: &[&str] = if fine { &[] } else { &["b/Cargo.toml:4"] };
                assert_eq!(found(&[("b/Cargo.toml", &text)]), wanted, "{text}");
            }
        }
        let text = format!("{LINTS}[dependencies.a]\nworkspace = true");
        assert_eq!(found(&[("b/Cargo.toml", &text)]), ["b/Cargo.toml:4"]);
    }

    #[test]
    fn every_crate_takes_the_lints() {
        assert_eq!(found(&[("a/Cargo.toml", "[package]\nname = \"a\"")]), ["a/Cargo.toml:1"]);
        let own = "[lints.rust]\nmissing_docs = \"warn\"";
        assert_eq!(found(&[("a/Cargo.toml", own)]), ["a/Cargo.toml:1"]);
        assert_eq!(found(&[("engine/kernels/Cargo.toml", own)]), [""; 0]);
    }

    #[test]
    fn every_version_is_used() {
        let root = ("Cargo.toml", "[workspace.dependencies]\nused = \"1\"\nunused = \"1\"");
        let text = format!("{LINTS}[dev-dependencies]\nused.workspace = true");
        assert_eq!(found(&[root, ("a/Cargo.toml", &text)]), ["Cargo.toml:3"]);
    }
}
