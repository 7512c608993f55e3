//! Words, texts and symbols of the text format, with their lines.

/// A token.
#[derive(Debug, PartialEq)]
pub(super) enum Token {
    /// A name or a number without its sign.
    Word(String),
    /// A text in quotes.
    Text(String),
    /// Any other character.
    Symbol(char),
}

impl Token {
    /// The token as an error shows it.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Word(word) => format!("`{word}`"),
            Self::Text(text) => format!("\"{}\"", text.escape_debug()),
            Self::Symbol(symbol) => format!("`{}`", symbol.escape_debug()),
        }
    }
}

/// Line and description of a mistake.
type Problem = (usize, String);

/// The rest of a text.
pub(super) struct Tokens<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Tokens<'a> {
    /// All tokens of a text.
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text, line: 1 }
    }

    /// Takes the next token; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(usize, Token)>, Problem> {
        self.skip_blanks();
        let line = self.line;
        let Some(first) = self.rest.chars().next() else { return Ok(None) };
        let token = match first {
            '"' | '\'' => Token::Text(self.text(first)?),
            first if is_word(first) => {
                let end = word_end(self.rest);
                Token::Word(self.take(end).into())
            }
            first => {
                self.take(first.len_utf8());
                Token::Symbol(first)
            }
        };
        Ok(Some((line, token)))
    }

    /// True if a text in quotes follows.
    pub(super) fn is_text_next(&mut self) -> bool {
        self.skip_blanks();
        self.rest.starts_with(['"', '\''])
    }

    /// Skips spaces, line ends and comments.
    fn skip_blanks(&mut self) {
        loop {
            let blanks = self.rest.len() - self.rest.trim_start().len();
            self.line += self.take(blanks).matches('\n').count();
            if !self.rest.starts_with('#') {
                return;
            }
            self.take(self.rest.find('\n').unwrap_or(self.rest.len()));
        }
    }

    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        taken
    }

    /// A text in quotes, which ends in its line.
    fn text(&mut self, quote: char) -> Result<String, Problem> {
        let line = self.line;
        let inside = &self.rest[1..];
        let mut bytes = Vec::new();
        let mut chars = inside.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '\n' => break,
                c if c == quote => {
                    self.take(1 + at + 1);
                    let text = String::from_utf8(bytes);
                    return text.map_err(|_| (line, "a text that is not UTF-8".into()));
                }
                '\\' => {
                    let (byte_or_char, taken) = escape(&inside[at + 1..])
                        .ok_or_else(|| (line, "a text with an escape that is not known".into()))?;
                    match byte_or_char {
                        Escaped::Byte(byte) => bytes.push(byte),
                        Escaped::Char(c) => bytes.extend(c.encode_utf8(&mut [0; 4]).bytes()),
                    }
                    // Escapes are ASCII: as many characters as bytes.
                    chars.by_ref().take(taken).for_each(drop);
                }
                c => bytes.extend(c.encode_utf8(&mut [0; 4]).bytes()),
            }
        }
        Err((line, format!("a text is not closed: a `{quote}` is missing")))
    }
}

enum Escaped {
    Byte(u8),
    Char(char),
}

/// Reads what follows a backslash; returns it with the bytes taken.
fn escape(text: &str) -> Option<(Escaped, usize)> {
    let first = text.chars().next()?;
    let simple = |byte| Some((Escaped::Byte(byte), 1));
    let digits = |from: usize, max: usize, radix: u32| {
        let digits: String =
            text[from..].chars().take(max).take_while(|c| c.is_digit(radix)).collect();
        Some((u32::from_str_radix(&digits, radix).ok()?, from + digits.len()))
    };
    let char_of = |(code, taken)| Some((Escaped::Char(char::from_u32(code)?), taken));
    match first {
        'a' => simple(7),
        'b' => simple(8),
        'f' => simple(12),
        'n' => simple(b'\n'),
        'r' => simple(b'\r'),
        't' => simple(b'\t'),
        'v' => simple(11),
        '\\' | '\'' | '"' | '?' => simple(first as u8),
        'x' | 'X' => digits(1, 2, 16).and_then(byte),
        '0'..='7' => digits(0, 3, 8).and_then(byte),
        'u' => digits(1, 4, 16).filter(|(_, taken)| *taken == 5).and_then(char_of),
        'U' => digits(1, 8, 16).filter(|(_, taken)| *taken == 9).and_then(char_of),
        _ => None,
    }
}

fn byte((code, taken): (u32, usize)) -> Option<(Escaped, usize)> {
    Some((Escaped::Byte(u8::try_from(code).ok()?), taken))
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '.'
}

/// End of a word. The sign of an exponent belongs to its number.
fn word_end(text: &str) -> usize {
    let is_number = text.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let is_hex = text.starts_with("0x") || text.starts_with("0X");
    let mut previous = ' ';
    for (at, c) in text.char_indices() {
        let is_exponent =
            is_number && !is_hex && matches!(c, '+' | '-') && matches!(previous, 'e' | 'E');
        if !is_word(c) && !is_exponent {
            return at;
        }
        previous = c;
    }
    text.len()
}
