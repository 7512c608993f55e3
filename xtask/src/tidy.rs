//! `cargo xtask tidy`: the style checks that neither rustfmt nor clippy makes.

mod manifests;
mod text;

use crate::workspace;
use anyhow::{Context, Result, ensure};
use std::{fmt, fs, path::Path, process::Command};

/// Where `unsafe` code may be: two crates, and the one call that maps a package into memory.
const UNSAFE_HOMES: [&str; 4] =
    ["engine/kernels/", "cuda/", "compression/src/package/map.rs", "compression/Cargo.toml"];

/// Checks the tree, then the dependencies where cargo-deny is installed.
pub(crate) fn tidy() -> Result<()> {
    let findings = findings(&workspace::root())?;
    for finding in &findings {
        println!("{finding}");
    }
    ensure!(findings.is_empty(), "{} things to put right, listed above", findings.len());
    println!("tidy: the tree is tidy");
    if !workspace::succeeds(workspace::cargo("deny").arg("--version"))? {
        println!("tidy: cargo-deny is not installed: licences and duplicates skipped");
        return Ok(());
    }
    // Not the advisories: they change from day to day, and what passed must go on passing.
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
    /// Something to put right at a line, counted from 0.
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

fn findings(root: &Path) -> Result<Vec<Finding>> {
    let sources = sources(root)?;
    let mut findings: Vec<_> = sources.iter().flat_map(text::check).collect();
    findings.extend(manifests::check(&sources));
    Ok(findings)
}

/// The text files that git has or would add, but for what cargo writes itself.
fn sources(root: &Path) -> Result<Vec<Source>> {
    // In a container the tree often belongs to another user, which git refuses unless told.
    let mut git = Command::new("git");
    git.args(["-c", "safe.directory=*", "ls-files", "-z"]);
    git.args(["--cached", "--others", "--exclude-standard"]).current_dir(root);
    let output = git.output().context("cannot start git")?;
    ensure!(output.status.success(), "git: {}", String::from_utf8_lossy(&output.stderr).trim());
    let paths = String::from_utf8(output.stdout).context("a file's name is not UTF-8")?;
    let read = |path: &str| -> Option<Source> {
        // Unreadable as text: binary, or removed since git last looked.
        let text = fs::read_to_string(root.join(path)).ok()?;
        (!text.contains('\0')).then(|| Source { path: path.to_owned(), text })
    };
    let paths = paths.split_terminator('\0').filter(|path| *path != "Cargo.lock");
    Ok(paths.filter_map(read).collect())
}

#[cfg(test)]
mod tests {
    use crate::workspace;

    #[test]
    fn the_tree_is_tidy() {
        let root = workspace::root();
        if !root.join(".git").exists() {
            println!("skipped: not a git checkout");
            return;
        }
        let findings = super::findings(&root).unwrap();
        let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
        assert!(lines.is_empty(), "\n{}", lines.join("\n"));
    }
}
