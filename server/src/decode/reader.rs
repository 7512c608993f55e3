//! Reads JSON piece by piece, straight into what a request becomes. Errors are in the protocol's
//! words. NaN, Infinity and -Infinity are numbers, as Triton and Python write them.

use super::fault::Fault;
use super::number::Number;
use smallvec::SmallVec;
use std::borrow::Cow;

/// Most lists and objects around a value.
pub(super) const DEPTH_MAX: usize = 128;

/// Characters of a value that a message shows.
const SHOWN_CHARS: usize = 40;

/// A place in a text of JSON.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
}

/// Kind of a JSON value, by its first character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Bool,
    Number,
    Text,
    List,
    Object,
    /// No value: the text ends, or goes on with something else.
    None,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Bytes that are left.
    pub(super) fn left(&self) -> usize {
        self.text.len() - self.at
    }

    /// The next character that is not white space.
    #[inline]
    pub(super) fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\t' | b'\r') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    /// Skips this character, if it is the next one.
    #[inline]
    pub(super) fn eat(&mut self, wanted: u8) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    /// Kind of the next value.
    #[inline]
    pub(super) fn kind(&mut self) -> Kind {
        match self.peek() {
            Some(b'n') => Kind::Null,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'-' | b'0'..=b'9' | b'N' | b'I') => Kind::Number,
            Some(b'"') => Kind::Text,
            Some(b'[') => Kind::List,
            Some(b'{') => Kind::Object,
            _ => Kind::None,
        }
    }

    /// Reads an object, whose values `each` must read.
    pub(super) fn object(
        &mut self,
        mut each: impl FnMut(&mut Self, &Cow<'a, str>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.expect(b'{')?;
        if self.eat(b'}') {
            return Ok(());
        }
        loop {
            let key = self.key()?;
            each(self, &key)?;
            if self.eat(b'}') {
                return Ok(());
            }
            self.expect_or(b',', "',' or '}'")?;
        }
    }

    /// Reads a list, whose values `each` must read.
    pub(super) fn list(
        &mut self,
        mut each: impl FnMut(&mut Self) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.expect(b'[')?;
        if self.eat(b']') {
            return Ok(());
        }
        loop {
            each(self)?;
            if self.eat(b']') {
                return Ok(());
            }
            self.expect_or(b',', "',' or ']'")?;
        }
    }

    /// Skips null, if it is the next value.
    pub(super) fn null(&mut self) -> Result<bool, Fault> {
        if self.kind() != Kind::Null {
            return Ok(false);
        }
        self.word("null")?;
        Ok(true)
    }

    /// Reads true or false.
    pub(super) fn bool(&mut self) -> Result<bool, Fault> {
        let is_true = self.peek() == Some(b't');
        self.word(if is_true { "true" } else { "false" })?;
        Ok(is_true)
    }

    /// Reads a number.
    #[inline]
    pub(super) fn number(&mut self) -> Result<Number<'a>, Fault> {
        self.peek();
        let rest = &self.text[self.at..];
        match Number::first_in(rest) {
            Some((number, length)) => {
                self.at += length;
                Ok(number)
            }
            None => Err(self.syntax("a number")),
        }
    }

    /// Reads a text.
    pub(super) fn text(&mut self) -> Result<Cow<'a, str>, Fault> {
        self.expect(b'"')?;
        let start = self.at;
        self.at += plain_bytes(&self.text.as_bytes()[start..]);
        if self.text.as_bytes().get(self.at) == Some(&b'"') {
            let plain = &self.text[start..self.at];
            self.at += 1;
            return Ok(Cow::Borrowed(plain));
        }
        let mut text = self.text[start..self.at].to_owned();
        loop {
            match self.text.as_bytes().get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Cow::Owned(text));
                }
                Some(b'\\') => text.push(self.escape()?),
                _ => return Err(self.syntax("the end of a text, without control characters")),
            }
            let start = self.at;
            self.at += plain_bytes(&self.text.as_bytes()[start..]);
            text.push_str(&self.text[start..self.at]);
        }
    }

    /// Skips a value and returns its JSON.
    pub(super) fn skip(&mut self) -> Result<&'a str, Fault> {
        self.peek();
        let start = self.at;
        let mut open: SmallVec<[u8; 32]> = SmallVec::new();
        loop {
            match self.kind() {
                Kind::Null => self.word("null")?,
                Kind::Bool => drop(self.bool()?),
                Kind::Number => drop(self.number()?),
                Kind::Text => drop(self.text()?),
                Kind::None => return Err(self.syntax("a value")),
                kind => {
                    self.at += 1;
                    let close = if kind == Kind::Object { b'}' } else { b']' };
                    if !self.eat(close) {
                        open.push(close);
                        if open.len() > DEPTH_MAX {
                            return Err(self.too_deep());
                        }
                        self.key_in(close)?;
                        continue;
                    }
                }
            }
            while open.last().is_some_and(|close| self.eat(*close)) {
                open.pop();
            }
            let Some(&close) = open.last() else { return Ok(&self.text[start..self.at]) };
            self.expect_or(b',', if close == b'}' { "',' or '}'" } else { "',' or ']'" })?;
            self.key_in(close)?;
        }
    }

    /// Checks that nothing follows.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        if self.peek().is_none() { Ok(()) } else { Err(self.syntax("the end of the JSON")) }
    }

    /// Start of the next value, for a message.
    pub(super) fn shown(&mut self) -> String {
        if self.kind() == Kind::None {
            return "nothing".into();
        }
        let rest = &self.text[self.at..];
        let value = self.clone().skip().unwrap_or(rest);
        match value.char_indices().nth(SHOWN_CHARS) {
            None => value.to_owned(),
            Some((end, _)) => format!("{}...", &value[..end]),
        }
    }

    /// The error of a field, or of elements, with another kind of value than wanted.
    pub(super) fn wrong(&mut self, what: &str, wanted: &str) -> Fault {
        match self.kind() {
            Kind::None => self.syntax("a value"),
            _ => Fault::value(format!("{what} must be {wanted}, not {}", self.shown())),
        }
    }

    /// The error of lists and objects that are nested too deeply.
    pub(super) fn too_deep(&self) -> Fault {
        self.syntax(&format!("at most {DEPTH_MAX} lists and objects inside each other"))
    }

    /// The error of JSON that goes on with something else than wanted.
    pub(super) fn syntax(&self, wanted: &str) -> Fault {
        let before = &self.text.as_bytes()[..self.at];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        let column = 1 + before.iter().rev().take_while(|byte| **byte != b'\n').count();
        let end = if self.left() == 0 { ", where it ends" } else { "" };
        Fault::Syntax(format!(
            "the JSON can not be read: at line {line}, column {column}{end}, there should be {wanted}"
        ))
    }

    fn expect(&mut self, wanted: u8) -> Result<(), Fault> {
        if self.eat(wanted) {
            return Ok(());
        }
        Err(self.syntax(&format!("'{}'", char::from(wanted))))
    }

    #[inline]
    pub(super) fn expect_or(&mut self, wanted: u8, name: &str) -> Result<(), Fault> {
        if self.eat(wanted) { Ok(()) } else { Err(self.syntax(name)) }
    }

    fn key(&mut self) -> Result<Cow<'a, str>, Fault> {
        if self.kind() != Kind::Text {
            return Err(self.syntax("a name in quotation marks"));
        }
        let key = self.text()?;
        self.expect_or(b':', "':'")?;
        Ok(key)
    }

    /// Skips the key before a value in an object; a list has none.
    fn key_in(&mut self, close: u8) -> Result<(), Fault> {
        if close == b'}' {
            self.key()?;
        }
        Ok(())
    }

    fn word(&mut self, word: &str) -> Result<(), Fault> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.syntax("a value"));
        }
        self.at += word.len();
        Ok(())
    }

    /// Reads an escape in a text.
    fn escape(&mut self) -> Result<char, Fault> {
        let escape = self.text.as_bytes().get(self.at + 1).copied();
        let plain = match escape {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            _ => return Err(self.syntax("an escape that JSON knows")),
        };
        self.at += 2;
        Ok(plain)
    }

    /// Reads `\uXXXX`, or two of them that make one character.
    fn unicode_escape(&mut self) -> Result<char, Fault> {
        let unit = |at: usize| {
            let digits = self.text.get(at..at + 6)?.strip_prefix("\\u")?;
            let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_hex.then(|| u16::from_str_radix(digits, 16).ok()).flatten()
        };
        let first = unit(self.at);
        let is_leading = first.is_some_and(|unit| (0xd800..0xdc00).contains(&unit));
        let second = if is_leading { unit(self.at + 6) } else { None };
        let mut decoded = char::decode_utf16(first.into_iter().chain(second));
        match decoded.next() {
            Some(Ok(character)) => {
                self.at += 6 * character.len_utf16();
                Ok(character)
            }
            _ => Err(self.syntax("four hexadecimal digits of a character after \\u")),
        }
    }
}

/// Bytes before the end of a text, an escape, or a character that a text must not hold.
#[inline]
fn plain_bytes(bytes: &[u8]) -> usize {
    let special = |byte: &u8| *byte == b'"' || *byte == b'\\' || *byte < b' ';
    bytes.iter().position(special).unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests;
