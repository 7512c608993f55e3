//! `cargo xtask tidy`: the style checks that neither rustfmt nor clippy makes.

mod docs;
mod layout;
mod manifests;
mod prose;
mod sentences;
mod text;

use crate::workspace;
use anyhow::{Context, Result, ensure};
use std::{collections::BTreeMap, fmt, fs, path::Path, process::Command};

/// Places of `unsafe` code: two crates, and the one call that maps a package into memory.
const UNSAFE_HOMES: [&str; 4] =
    ["engine/kernels/", "cuda/", "compression/src/package/map.rs", "compression/Cargo.toml"];

/// Checks the tree, then the dependencies if cargo-deny is installed.
pub(crate) fn tidy() -> Result<()> {
    let sources = sources(&workspace::root())?;
    let findings = findings(&sources);
    for finding in &findings {
        println!("{finding}");
    }
    for (home, count) in counts(&sources, &findings) {
        println!("tidy: {count:4} in {home}");
    }
    ensure!(findings.is_empty(), "{} things to put right, listed above", findings.len());
    println!("tidy: the tree is tidy");
    if !workspace::succeeds(workspace::cargo("deny").arg("--version"))? {
        println!("tidy: cargo-deny is not installed: licences and duplicates skipped");
        return Ok(());
    }
    // Advisories change from day to day, and a tree that passed must go on passing.
    workspace::run(workspace::cargo("deny").args(["check", "bans", "licenses", "sources"]))
}

/// A text file of the tree; `path` is relative to the root.
struct Source {
    path: String,
    text: String,
}

/// Something to put right.
#[derive(Debug)]
struct Finding {
    path: String,
    line: usize,
    what: String,
}

impl Source {
    /// A finding at a line, counted from 0.
    fn finding(&self, index: usize, what: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line: index + 1, what: what.into() }
    }

    fn may_be_unsafe(&self) -> bool {
        UNSAFE_HOMES.iter().any(|home| self.path.starts_with(home))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// Every finding in the tree, file by file.
fn findings(sources: &[Source]) -> Vec<Finding> {
    let mut findings: Vec<_> = sources.iter().flat_map(check).collect();
    findings.extend(manifests::check(sources));
    findings
}

/// Checks one file by itself.
fn check(source: &Source) -> Vec<Finding> {
    let mut findings = text::check(source);
    findings.extend(prose::check(source));
    if source.path.ends_with(".rs") {
        findings.extend(docs::check(source));
        findings.extend(layout::check(source));
    }
    findings
}

/// Findings by crate; files outside of all crates count for the root.
fn counts<'a>(sources: &'a [Source], findings: &[Finding]) -> BTreeMap<&'a str, usize> {
    let homes: Vec<_> =
        sources.iter().filter_map(|source| source.path.strip_suffix("/Cargo.toml")).collect();
    let mut counts = BTreeMap::new();
    for finding in findings {
        // The innermost crate has the longest path.
        let within = homes.iter().filter(|home| Path::new(&finding.path).starts_with(home));
        let home = within.copied().max_by_key(|home| home.len()).unwrap_or("the root");
        *counts.entry(home).or_default() += 1;
    }
    counts
}

/// The text files that git has or would add, except for generated ones.
fn sources(root: &Path) -> Result<Vec<Source>> {
    // In a container the tree often belongs to another user, which git refuses by default.
    let mut git = Command::new("git");
    git.args(["-c", "safe.directory=*", "ls-files", "-z"]);
    git.args(["--cached", "--others", "--exclude-standard"]).current_dir(root);
    let output = git.output().context("cannot start git")?;
    ensure!(output.status.success(), "git: {}", String::from_utf8_lossy(&output.stderr).trim());
    let paths = String::from_utf8(output.stdout).context("a file's name is not UTF-8")?;
    let read = |path: &str| -> Option<Source> {
        // Binary files, and files removed since git last looked, can not be read as text.
        let text = fs::read_to_string(root.join(path)).ok()?;
        (!text.contains('\0')).then(|| Source { path: path.to_owned(), text })
    };
    let is_written = |path: &&str| *path != "Cargo.lock" && !path.contains("/src/generated/");
    let paths = paths.split_terminator('\0').filter(is_written);
    Ok(paths.filter_map(read).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        let root = workspace::root();
        if !root.join(".git").exists() {
            println!("skipped: not a git checkout");
            return;
        }
        let findings = findings(&sources(&root).unwrap());
        let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert!(lines.is_empty(), "\n{}", lines.join("\n"));
    }

    #[test]
    fn findings_are_counted_by_crate() {
        let source = |path: &str| Source { path: path.into(), text: String::new() };
        let sources = ["Cargo.toml", "a/Cargo.toml", "a/b/Cargo.toml"].map(source);
        let paths = ["a/b/src/c.rs", "a/src/b.rs", "ab/c.rs", "README.md", "a/c.rs"];
        let findings = paths.map(|path| source(path).finding(0, ""));
        let wanted = [("a", 2), ("a/b", 1), ("the root", 2)];
        assert_eq!(counts(&sources, &findings), BTreeMap::from(wanted));
    }
}
