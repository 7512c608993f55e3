//! Checks of one text file by itself.
//!
//! Forbidden words are put together from halves, so that this file passes its own check.

use super::{Finding, Source};

/// A file this long holds more than one idea.
const LINES_MAX: usize = 450;

const REGISTRIES: [&str; 5] = [
    concat!("crates", ".io"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("npmjs", "."),
    concat!("index", "-url"),
];
const MACHINE_FOLDERS: [&str; 4] =
    [concat!("/wo", "rk/"), concat!("/t", "mp/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
const UNFINISHED: [&str; 2] = [concat!("TO", "DO"), concat!("FIX", "ME")];
const UNSAFE: &str = concat!("un", "safe");

/// Checks the length, the opening and the words of a file.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_rust = source.path.ends_with(".rs");
    if is_rust && !source.text.starts_with("//!") {
        findings.push(source.finding(0, "open the file with `//!`: what it is for"));
    }
    let is_code = is_rust || source.path.ends_with(".py");
    if is_code && source.text.lines().count() > LINES_MAX {
        let what = format!("over {LINES_MAX} lines: split the file by idea");
        findings.push(source.finding(LINES_MAX, what));
    }
    for (index, line) in source.text.lines().enumerate() {
        findings.extend(check_words(line).map(|what| source.finding(index, what)));
        if is_rust && !source.may_be_unsafe() && has_unsafe_code(line) {
            let what = format!("`{UNSAFE}` belongs in engine/kernels and cuda only");
            findings.push(source.finding(index, what));
        }
    }
    findings
}

/// The first forbidden word in a line.
fn check_words(line: &str) -> Option<String> {
    if let Some(host) = REGISTRIES.iter().find(|host| line.contains(**host)) {
        return Some(format!("names a registry (`{host}`): leave that to the machine's settings"));
    }
    if let Some(folder) = MACHINE_FOLDERS.iter().find(|folder| has_path(line, folder)) {
        return Some(format!("names a folder of one machine (`{folder}`): use a relative path"));
    }
    let unfinished = UNFINISHED.iter().find(|word| places(line, word).next().is_some())?;
    Some(format!("`{unfinished}`: finish it, or delete it"))
}

/// Returns true if a line has a path that starts with `folder`; `target` + `folder` is another.
fn has_path(line: &str, folder: &str) -> bool {
    let opens = |before: char| before.is_whitespace() || "\"'`=:,;()[]<>|".contains(before);
    line.match_indices(folder).any(|(at, _)| at == 0 || line[..at].ends_with(opens))
}

/// Returns true if a line of Rust has the keyword itself, not the word in a comment or a lint.
fn has_unsafe_code(line: &str) -> bool {
    let code = line.split_once("//").map_or(line, |(code, _)| code);
    places(code, UNSAFE).any(|at| {
        let rest = code[at + UNSAFE.len()..].trim_start();
        let next = rest.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        rest.is_empty()
            || rest.starts_with(['{', '('])
            || matches!(next, "fn" | "impl" | "trait" | "extern")
    })
}

/// Positions of `word` in a line, but not within longer words.
fn places(line: &str, word: &'static str) -> impl Iterator<Item = usize> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).map(|(at, _)| at).filter(move |at| {
        !line[..*at].ends_with(is_part) && !line[at + word.len()..].starts_with(is_part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_found(path: &str, text: &str) -> Vec<usize> {
        let source = Source { path: path.into(), text: text.into() };
        check(&source).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_rust_file_opens_with_what_it_is_for() {
        assert_eq!(lines_found("a.rs", "//! Adds.\n"), []);
        assert_eq!(lines_found("a.rs", "use std::fs;\n"), [1]);
        assert_eq!(lines_found("a.md", "Text\n"), []);
    }

    #[test]
    fn long_files_are_found() {
        let text = "//! Long.\n".repeat(LINES_MAX);
        assert_eq!(lines_found("a.rs", &text), []);
        assert_eq!(lines_found("a.rs", &(text + "//!\n")), [LINES_MAX + 1]);
    }

    #[test]
    fn unsafe_code_is_found_outside_its_homes() {
        for code in ["{", "fn f()", "impl Send for A {}", "", "extern \"C\" {", "(no_mangle)"] {
            let text = format!("//!\n{UNSAFE} {code}");
            assert_eq!(lines_found("engine/src/a.rs", &text), [2], "{text}");
            assert_eq!(lines_found("engine/kernels/src/a.rs", &text), []);
        }
        for text in ["// no X {", "#![forbid(X_code)]", "\"X words\""] {
            let text = format!("//!\n{}", text.replace('X', UNSAFE));
            assert_eq!(lines_found("engine/src/a.rs", &text), [], "{text}");
        }
    }

    #[test]
    fn forbidden_words_are_found_with_their_line() {
        for word in REGISTRIES.iter().chain(&MACHINE_FOLDERS).chain(&UNFINISHED) {
            assert_eq!(lines_found("a.md", &format!("Fine.\nSee {word} now")), [2], "{word}");
        }
        for word in MACHINE_FOLDERS {
            assert_eq!(lines_found("a.md", &format!("target{word}a ../my{word}b")), []);
        }
        assert_eq!(lines_found("a.md", &format!("{}S", UNFINISHED[0])), []);
    }
}
