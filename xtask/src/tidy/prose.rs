//! Checks of the documents that newcomers read first: their sentences are short.

use super::{Finding, Source, sentences};
use std::mem;

/// Documents that are checked.
const DOCUMENTS: [&str; 2] = ["README.md", "ARCHITECTURE.md"];
/// Words in half of a document's sentences, at most.
const MEDIAN_MAX: usize = 18;
/// Words in any sentence, at most.
const WORDS_MAX: usize = 40;

/// Checks the sentences of a document; other files have no findings.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    if !DOCUMENTS.contains(&source.path.as_str()) {
        return Vec::new();
    }
    let sentences: Vec<_> =
        paragraphs(&source.text).into_iter().flat_map(sentences::split).collect();
    let long = sentences.iter().filter(|sentence| sentence.words > WORDS_MAX);
    let mut findings: Vec<_> = long
        .map(|sentence| {
            let what = format!("a sentence of {} words: {WORDS_MAX} at most", sentence.words);
            source.finding(sentence.line, what)
        })
        .collect();
    let mut lengths: Vec<_> = sentences.iter().map(|sentence| sentence.words).collect();
    lengths.sort_unstable();
    if let Some(&median) = lengths.get(lengths.len() / 2).filter(|&&median| median > MEDIAN_MAX) {
        let what = format!("sentences of {median} words in the median: {MEDIAN_MAX} at most");
        findings.push(source.finding(0, what));
    }
    findings
}

/// Paragraphs and list items of a document, as lines with their index. Code, tables, headings
/// and images are left out.
fn paragraphs(text: &str) -> Vec<Vec<(usize, &str)>> {
    let mut paragraphs = Vec::new();
    let mut open = Vec::new();
    let mut is_code = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        let is_fence = line.starts_with("```");
        is_code ^= is_fence;
        let is_text =
            !is_code && !is_fence && !["#", "|", "!["].iter().any(|m| line.starts_with(m));
        let item = line.strip_prefix("- ").or(line.strip_prefix("* "));
        if line.is_empty() || !is_text || item.is_some() {
            paragraphs.push(mem::take(&mut open));
        }
        if is_text {
            open.push((index, item.unwrap_or(line)));
        }
    }
    paragraphs.push(open);
    paragraphs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_found(path: &str, text: &str) -> Vec<usize> {
        let source = Source { path: path.into(), text: text.into() };
        check(&source).iter().map(|finding| finding.line).collect()
    }

    fn sentence(words: usize) -> String {
        vec!["word"; words].join(" ") + "."
    }

    #[test]
    fn no_sentence_is_long() {
        let text =
            format!("# A\n\nShort. Short. Short.\n\n{}\n{}\n", sentence(WORDS_MAX), sentence(41));
        assert_eq!(lines_found("README.md", &text), [6]);
        assert_eq!(lines_found("ARCHITECTURE.md", &text), [6]);
        assert_eq!(lines_found("docs/README.md", &text), []);
    }

    #[test]
    fn half_of_the_sentences_are_short() {
        let text = [sentence(MEDIAN_MAX), sentence(40), sentence(1)].join("\n");
        assert_eq!(lines_found("README.md", &text), []);
        let text = [sentence(MEDIAN_MAX + 1), sentence(40), sentence(1)].join("\n");
        assert_eq!(lines_found("README.md", &text), [1]);
    }

    #[test]
    fn code_tables_headings_and_images_are_no_sentences() {
        let long = sentence(WORDS_MAX + 1);
        for text in ["```sh\nX\n```", "| X |", "## X", "![X](a.svg)"] {
            assert_eq!(lines_found("README.md", &text.replace('X', &long)), [], "{text}");
        }
    }

    #[test]
    fn items_of_a_list_are_sentences_of_their_own() {
        let item = "- ".to_owned() + sentence(MEDIAN_MAX).trim_end_matches('.');
        assert_eq!(lines_found("README.md", &[item.as_str(); 5].join("\n")), []);
    }
}
