//! Checks of doc comments: each opens with a short sentence that says what the item is or does.

use super::{Finding, Source, sentences};

/// First words of doc comments that explain by a subordinate clause.
const FIRST_WORDS_BANNED: [&str; 8] =
    ["What", "Whether", "How", "Who", "Whoever", "Its", "Of", "Those"];
/// Words in the first sentence of a doc comment, at most.
const WORDS_MAX: usize = 25;

/// Checks every doc comment of a Rust file.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for paragraph in openings(&source.text) {
        let Some(&(line, text)) = paragraph.first() else { continue };
        let first = text.trim_start_matches(|c: char| !c.is_alphanumeric());
        let first = first.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        if FIRST_WORDS_BANNED.contains(&first) {
            let what = format!("a doc comment begins with `{first}`: say what it is or does");
            findings.push(source.finding(line, what));
        }
        let sentences = sentences::split(paragraph);
        if let Some(sentence) = sentences.first().filter(|sentence| sentence.words > WORDS_MAX) {
            let words = sentence.words;
            let what = format!("a doc comment opens with {words} words: {WORDS_MAX} at most");
            findings.push(source.finding(line, what));
        }
    }
    findings
}

/// The first paragraph of each doc comment, as lines with their index.
fn openings(text: &str) -> Vec<Vec<(usize, &str)>> {
    let mut openings = Vec::new();
    let mut previous = None;
    // No line is added to a paragraph that has ended.
    let mut is_open = false;
    for (index, line) in text.lines().enumerate() {
        let comment = doc_comment(line);
        if let Some((kind, text)) = comment {
            if previous != Some(kind) {
                openings.push(Vec::new());
                is_open = true;
            }
            is_open &= !ends_paragraph(text);
            if let Some(paragraph) = openings.last_mut().filter(|_| is_open) {
                paragraph.push((index, text));
            }
        }
        previous = comment.map(|(kind, _)| kind);
    }
    openings
}

/// The mark and the text of a doc comment's line.
fn doc_comment(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start();
    let (mark, text) = line.split_at_checked(3)?;
    (matches!(mark, "///" | "//!") && !text.starts_with('/')).then_some((mark, text.trim()))
}

/// Returns true for blank lines, headings, lists, tables and fences.
fn ends_paragraph(text: &str) -> bool {
    text.is_empty() || ["#", "- ", "* ", "|", "```"].iter().any(|mark| text.starts_with(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_found(text: &str) -> Vec<usize> {
        let source = Source { path: "a.rs".into(), text: text.into() };
        check(&source).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_doc_comment_does_not_begin_with_a_clause() {
        for first in FIRST_WORDS_BANNED {
            assert_eq!(lines_found(&format!("//! Adds.\n\n    /// {first} it is.\n")), [3]);
            assert_eq!(lines_found(&format!("/// `{first}` it is.\n")), [1], "{first}");
        }
        assert_eq!(lines_found("/// Whatever.\n/// What it is."), []);
        assert_eq!(lines_found("// What it is.\n//// What it is."), []);
        assert_eq!(lines_found("/// One.\nfn a() {}\n/// How many.\n"), [3]);
        assert_eq!(lines_found("//! Adds.\n/// How many.\n"), [2]);
    }

    #[test]
    fn the_first_sentence_is_short() {
        let long = ["word"; WORDS_MAX + 1].join(" ");
        let short = ["word"; WORDS_MAX].join(" ");
        assert_eq!(lines_found(&format!("/// {long}.")), [1]);
        assert_eq!(lines_found(&format!("/// {short}. {long}.")), []);
        assert_eq!(lines_found(&format!("/// {short}\n/// more.")), [1]);
        for next in ["", "# Errors", "- one", "```"] {
            assert_eq!(lines_found(&format!("/// {short}\n/// {next}\n/// {long}")), [], "{next}");
        }
    }
}
