//! Tests the text format: every spelling of a value, and the place of every mistake.

use super::*;
use proptest::prelude::*;

fn word(text: &str) -> Node {
    Node::Word(text.into())
}

fn text(text: &str) -> Node {
    Node::Text(text.into())
}

fn only(written: &str) -> Node {
    let mut fields = read(written).unwrap();
    assert_eq!(fields.len(), 1, "{written}");
    fields.remove(0).value
}

#[test]
fn values_have_every_spelling_of_the_format() {
    for (written, wanted) in [
        ("a: 8", word("8")),
        ("a : - 8", word("-8")),
        ("a: -1.5e-3f", word("-1.5e-3f")),
        ("a: 0x1F;", word("0x1F")),
        ("a: KIND_CPU,", word("KIND_CPU")),
        ("a: 'it''s' \"[ # }\"", text("its[ # }")),
        (r#"a: "\n\t\\\"\x41\101\u00e4" # b"#, text("\n\t\\\"AA\u{e4}")),
        ("a {}", Node::Message(vec![])),
        ("a: < >", Node::Message(vec![])),
        ("a: []", Node::List(vec![])),
        ("a [ 1, 2, ]", Node::List(vec![(Some(1), word("1")), (Some(1), word("2"))])),
    ] {
        assert_eq!(only(written), wanted, "{written}");
    }
}

#[test]
fn lines_are_counted_whatever_ends_them() {
    let written = "# first\r\na: 1 # rows\r\n\r\nb {\n  c: [\n {}, {} ] }";
    let fields = read(written).unwrap();
    assert_eq!((fields[0].line, fields[1].line), (Some(2), Some(4)));
    let Node::Message(inside) = &fields[1].value else { panic!() };
    let Node::List(elements) = &inside[0].value else { panic!() };
    assert_eq!((inside[0].line, elements[1].0), (Some(5), Some(6)));
}

#[test]
fn a_mistake_is_told_with_its_line_and_field() {
    for (written, wanted) in [
        ("a: 1\nb [ {\n c: [ 3, 8 8 ] } ]", "line 3: b.c: a `,` is missing before `8`"),
        ("a {\n b: 1\n", "line 1: a: its `{` is not closed: a `}` is missing"),
        ("a [ {\n b: 1\n]", "line 3: a: `]` where a `}` belongs, for the `{` in line 1"),
        ("a: [ 1\n}", "line 2: a: `}` where a `]` belongs, for the `[` in line 1"),
        ("a: [ 1", "line 1: a: its `[` is not closed: a `]` is missing"),
        ("a {}\n}", "line 2: `}` closes nothing"),
        ("\na 5", "line 2: a: a `:` is missing before `5`"),
        ("a: 'b\nc'", "line 1: a: a text is not closed: a `'` is missing"),
        ("a: \"b", "line 1: a: a text is not closed: a `\"` is missing"),
        (r#"a: "\q""#, "line 1: a: a text with an escape that is not known"),
        (r#"a: "\xff""#, "line 1: a: a text that is not UTF-8"),
        ("a:", "line 1: a: its value is missing"),
        ("a: -", "line 1: a: a number is missing after `-`"),
        ("a: }", "line 1: a: `}` where its value belongs"),
        ("a: 1\n5: 3", "line 2: `5` where the name of a field belongs"),
        ("[x.y]: 3", "line 1: `[` where the name of a field belongs"),
        ("a: [ [ 1 ] ]", "line 1: a: `[` where its value belongs"),
        ("\u{e4}: 1", "line 1: `\u{e4}` where the name of a field belongs"),
    ] {
        assert_eq!(read(written).unwrap_err().to_string(), wanted, "{written}");
    }
}

#[test]
fn nesting_has_a_limit() {
    let error = read(&"a {".repeat(100_000)).unwrap_err().to_string();
    assert_eq!(error, "line 1: a: nested more than 32 deep");
    assert!(read(&"a: [".repeat(100_000)).is_err());
}

proptest! {
    #[test]
    fn no_text_is_read_wrongly_or_for_ever(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "a", ":", "{", "}", "[", "]", "<", ">", ",", ";", "-", "8", "1e+", "'", "\"", "\\",
                "\\x", "\n", "#", " ", "\u{e4}", "\u{feff}", ".",
            ]),
            0..40,
        ),
    ) {
        drop(read(&pieces.concat()));
    }
}
