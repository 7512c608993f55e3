//! Reads Protocol Buffers' text format: `name: value`, `name { ... }`, `name: [ ... ]`.

use super::node::{DEPTH_MAX, Field, Mistake, Node};
use tokens::{Token, Tokens};

mod tokens;

/// Reads a configuration.
///
/// # Errors
/// The first mistake of syntax, with its line and field.
pub(super) fn read(text: &str) -> Result<Vec<Field>, Mistake> {
    let mut parser = Parser { tokens: Tokens::new(text), path: Vec::new() };
    parser.fields(None)
}

/// The bracket that opened what is being read.
#[derive(Clone, Copy)]
struct Opened {
    line: usize,
    open: char,
    close: char,
}

struct Parser<'a> {
    tokens: Tokens<'a>,
    /// Names of the fields around the current place.
    path: Vec<String>,
}

impl Parser<'_> {
    fn mistake<T>(&self, line: usize, problem: impl Into<String>) -> Result<T, Mistake> {
        let field = self.path.join(".");
        Err(Mistake { line: Some(line), field, problem: problem.into() })
    }

    /// Takes the next token with its line; `None` at the end.
    fn next(&mut self) -> Result<Option<(usize, Token)>, Mistake> {
        let next = self.tokens.next();
        next.or_else(|(line, problem)| self.mistake(line, problem))
    }

    /// Fields up to the closing bracket, or to the end of the text.
    fn fields(&mut self, opened: Option<Opened>) -> Result<Vec<Field>, Mistake> {
        let mut fields = Vec::new();
        loop {
            let (line, token) = match (self.next()?, opened) {
                (Some(token), _) => token,
                (None, None) => return Ok(fields),
                (None, Some(opened)) => return self.not_closed(opened, None),
            };
            match (token, opened) {
                (Token::Symbol(',' | ';'), _) => {}
                (Token::Symbol(close), Some(opened)) if close == opened.close => return Ok(fields),
                (Token::Symbol(close @ ('}' | ']' | '>')), Some(opened)) => {
                    return self.not_closed(opened, Some((line, close)));
                }
                (Token::Symbol(close @ ('}' | ']' | '>')), None) => {
                    return self.mistake(line, format!("`{close}` closes nothing"));
                }
                (Token::Word(name), _) if is_name(&name) => fields.push(self.field(name, line)?),
                (other, _) => {
                    let other = other.shown();
                    return self
                        .mistake(line, format!("{other} where the name of a field belongs"));
                }
            }
        }
    }

    fn not_closed<T>(
        &self,
        Opened { line, open, close }: Opened,
        found: Option<(usize, char)>,
    ) -> Result<T, Mistake> {
        match found {
            None => {
                self.mistake(line, format!("its `{open}` is not closed: a `{close}` is missing"))
            }
            Some((at, found)) => self.mistake(
                at,
                format!("`{found}` where a `{close}` belongs, for the `{open}` in line {line}"),
            ),
        }
    }

    fn field(&mut self, name: String, line: usize) -> Result<Field, Mistake> {
        self.path.push(name.clone());
        if self.path.len() > DEPTH_MAX {
            self.path.truncate(1);
            return self.mistake(line, format!("nested more than {DEPTH_MAX} deep"));
        }
        let mut next = self.next()?;
        let has_colon = matches!(next, Some((_, Token::Symbol(':'))));
        if has_colon {
            next = self.next()?;
        }
        let value = match next {
            Some((at, Token::Symbol('['))) => self.list(at)?,
            next => self.single(next, line, has_colon)?,
        };
        self.path.pop();
        Ok(Field { name, line: Some(line), value })
    }

    /// A message, a word, a number or a text.
    fn single(
        &mut self,
        token: Option<(usize, Token)>,
        line: usize,
        has_colon: bool,
    ) -> Result<Node, Mistake> {
        let Some((at, token)) = token else {
            return self.mistake(line, "its value is missing");
        };
        match token {
            Token::Symbol('{') => self.message(at, '{', '}'),
            Token::Symbol('<') => self.message(at, '<', '>'),
            Token::Word(_) | Token::Text(_) | Token::Symbol('-') if !has_colon => {
                self.mistake(at, format!("a `:` is missing before {}", token.shown()))
            }
            Token::Word(word) => Ok(Node::Word(word)),
            Token::Text(text) => self.joined(text),
            Token::Symbol('-') => match self.next()? {
                Some((_, Token::Word(word))) => Ok(Node::Word(format!("-{word}"))),
                _ => self.mistake(at, "a number is missing after `-`"),
            },
            other => self.mistake(at, format!("{} where its value belongs", other.shown())),
        }
    }

    /// Texts that stand side by side are one text.
    fn joined(&mut self, mut text: String) -> Result<Node, Mistake> {
        while self.tokens.is_text_next() {
            if let Some((_, Token::Text(more))) = self.next()? {
                text.push_str(&more);
            }
        }
        Ok(Node::Text(text))
    }

    fn message(&mut self, line: usize, open: char, close: char) -> Result<Node, Mistake> {
        Ok(Node::Message(self.fields(Some(Opened { line, open, close }))?))
    }

    fn list(&mut self, line: usize) -> Result<Node, Mistake> {
        let opened = Opened { line, open: '[', close: ']' };
        let mut elements = Vec::new();
        let mut needs_comma = false;
        loop {
            let Some((at, token)) = self.next()? else { return self.not_closed(opened, None) };
            match token {
                Token::Symbol(']') => return Ok(Node::List(elements)),
                Token::Symbol(',') if needs_comma => needs_comma = false,
                Token::Symbol(found @ ('}' | '>')) => {
                    return self.not_closed(opened, Some((at, found)));
                }
                token if needs_comma => {
                    return self.mistake(at, format!("a `,` is missing before {}", token.shown()));
                }
                token => {
                    elements.push((Some(at), self.single(Some((at, token)), at, true)?));
                    needs_comma = true;
                }
            }
        }
    }
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests;
