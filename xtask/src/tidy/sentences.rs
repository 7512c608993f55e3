//! Sentences of running text, and the words in them.

/// Abbreviations that end in a full stop without ending a sentence.
const ABBREVIATIONS: [&str; 8] = ["e.g.", "i.e.", "vs.", "cf.", "eq.", "sec.", "fig.", "no."];

/// A sentence: the line it begins on, counted from 0, and its number of words.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sentence {
    pub line: usize,
    pub words: usize,
}

/// Splits a paragraph into sentences; each item is a line's index and its text.
pub(super) fn split<'a>(paragraph: impl IntoIterator<Item = (usize, &'a str)>) -> Vec<Sentence> {
    let mut sentences = Vec::new();
    let mut open: Option<Sentence> = None;
    for (line, text) in paragraph {
        for token in text.split_whitespace() {
            let sentence = open.get_or_insert(Sentence { line, words: 0 });
            sentence.words += usize::from(token.contains(char::is_alphanumeric));
            if ends_sentence(token) {
                sentences.extend(open.take());
            }
        }
    }
    sentences.extend(open);
    sentences.retain(|sentence| sentence.words > 0);
    sentences
}

/// Returns true if a sentence ends with this token.
fn ends_sentence(token: &str) -> bool {
    let bare = token.trim_start_matches(['(', '[', '"', '*', '_']);
    let closed = bare.trim_end_matches(|c: char| ")]\"'`*_".contains(c));
    closed.ends_with(['.', '!', '?'])
        && !closed.ends_with("..")
        && !ABBREVIATIONS.contains(&bare.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<usize> {
        split(text.lines().enumerate()).iter().map(|sentence| sentence.words).collect()
    }

    #[test]
    fn a_sentence_ends_with_its_mark() {
        assert_eq!(words("One two. Three four five! Six?"), [2, 3, 1]);
        assert_eq!(words("One (two three.) Four"), [3, 1]);
        assert_eq!(words("It is **bold.** And `code`."), [3, 2]);
        assert_eq!(words(""), [0; 0]);
    }

    #[test]
    fn other_full_stops_end_no_sentence() {
        assert_eq!(words("Small, e.g. 3.5 ms, i.e. less."), [6]);
        assert_eq!(words("Sizes 1, 2, ... 128 in `a.rs` too."), [7]);
    }

    #[test]
    fn signs_alone_are_no_words() {
        assert_eq!(words("a = b + c - d."), [4]);
    }

    #[test]
    fn a_sentence_has_the_line_it_begins_on() {
        let sentences = split([(4, "One two"), (5, "three. Four"), (6, "five.")]);
        assert_eq!(sentences, [Sentence { line: 4, words: 3 }, Sentence { line: 5, words: 2 }]);
    }
}
