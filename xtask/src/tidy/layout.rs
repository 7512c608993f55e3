//! Checks of files' places and of imports: `x.rs` beside `x/`, and one block of `use` lines.

use super::{Finding, Source};

/// Checks the place and the imports of a Rust file.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    if is_misplaced(&source.path) {
        findings.push(source.finding(0, "write `x.rs` beside `x/`: `mod.rs` is for tests/ only"));
    }
    let mut end_of_block = None;
    let mut lines = source.text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        if line.starts_with("use ") {
            if let Some(end) = end_of_block.filter(|end| *end < index) {
                let what = format!("`use` stands apart from the block that ends on line {end}");
                findings.push(source.finding(index, what));
            }
            let last = std::iter::once((index, line)).chain(lines.by_ref());
            let last = last.into_iter().find(|(_, line)| line.trim_end().ends_with(';'));
            end_of_block = last.map(|(index, _)| index + 1);
        } else if end_of_block == Some(index) && belongs_to_a_use(line) {
            end_of_block = Some(index + 1);
        }
    }
    findings
}

/// Returns true for a `mod.rs` that is no helper of integration tests (`tests/NAME/mod.rs`).
fn is_misplaced(path: &str) -> bool {
    let mut parts = path.rsplit('/');
    parts.next() == Some("mod.rs") && parts.nth(1) != Some("tests")
}

/// Returns true for comments, attributes and re-exports, which may stand among `use` lines.
fn belongs_to_a_use(line: &str) -> bool {
    line.starts_with("//")
        || line.starts_with("#[")
        || line.starts_with("pub") && line.contains("use ") && line.ends_with(';')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_found(path: &str, text: &str) -> Vec<usize> {
        let source = Source { path: path.into(), text: text.into() };
        check(&source).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_module_stands_beside_its_folder() {
        for (path, fine) in [
            ("a/src/b/mod.rs", false),
            ("a/src/tests/mod.rs", false),
            ("a/tests/support/mod.rs", true),
            ("a/tests/support/deep/mod.rs", false),
            ("a/src/mod_rs.rs", true),
        ] {
            let wanted: &[usize] = if fine { &[] } else { &[1] };
            assert_eq!(lines_found(path, ""), wanted, "{path}");
        }
    }

    #[test]
    fn imports_stand_in_one_block() {
        for fine in [
            "use a;\nuse b;\n\nmod c;\n",
            "use a::{\n    b,\n    c,\n};\nuse d;\n",
            "use a;\n#[cfg(test)]\nuse b;\n// Here.\nuse c;\n",
            "use a;\npub use b;\nuse c;\n",
            "use a;\n\nmod b {\n    use c;\n\n    use d;\n}\n",
        ] {
            assert_eq!(lines_found("a.rs", fine), [], "{fine}");
        }
        assert_eq!(lines_found("a.rs", "use a;\n\nuse b;\nuse c;\n"), [3]);
        assert_eq!(lines_found("a.rs", "use a;\nmod b;\nuse c;\n"), [3]);
        assert_eq!(lines_found("a.rs", "use a::{\n    b,\n};\n\nuse c;\n"), [5]);
    }
}
