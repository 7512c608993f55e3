//! Prepares Protocol Buffers' text format for the parser.

/// Inserts the optional colons before lists of messages, as in `input [ { ... } ]`. Configurations
/// for Triton leave them out, and the parser requires them.
pub(super) fn with_colons(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let (mut rest, mut previous, mut is_name) = (text, ' ', false);
    while let Some(first) = rest.chars().next() {
        let (token, after) = rest.split_at(token_bytes(rest, first));
        if first == '[' && is_name {
            out.push(':');
        }
        if !first.is_whitespace() && first != '#' {
            // A word after a colon is a value.
            is_name = is_word(first) && previous != ':';
            previous = first;
        }
        out.push_str(token);
        rest = after;
    }
    out
}

/// Bytes of the first token: a comment, a string, a word or one character.
fn token_bytes(text: &str, first: char) -> usize {
    let end = match first {
        '#' => text.find('\n'),
        '"' | '\'' => string_end(text, first),
        first if is_word(first) => text.find(|c| !is_word(c)),
        first => Some(first.len_utf8()),
    };
    end.unwrap_or(text.len())
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn string_end(text: &str, quote: char) -> Option<usize> {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if !is_escaped && c == quote {
            return Some(at + 1);
        }
        is_escaped = !is_escaped && c == '\\';
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_without_a_colon_gets_one() {
        let text = "input [ { dims: [ 1 ] } ]\noutput\n  # a comment [\n  [\n{}]";
        let wanted = "input :[ { dims: [ 1 ] } ]\noutput\n  # a comment [\n  :[\n{}]";
        assert_eq!(with_colons(text), wanted);
    }

    #[test]
    fn strings_values_and_lists_stay_as_they_are() {
        for text in [
            r#"name: "a [ \" b [" x: 'it [ is' "#,
            "kind: KIND_CPU [ext]: 3",
            "dims: [ -1, 3 ] versions { specific { versions: [1] } }",
            "unended: \"a [ \\",
            "ä [ ü",
            "",
        ] {
            assert_eq!(with_colons(text), text);
        }
    }
}
