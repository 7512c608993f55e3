//! The parts of the page at one moment, and the events that bring a viewer there.

use maud::{Markup, PreEscaped};
use std::fmt::Write;
use std::sync::Arc;

/// Content of all parts.
#[derive(Clone, Debug, Default)]
pub(super) struct Frame {
    /// Number of the frame.
    pub(super) number: u64,
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
struct Part {
    id: String,
    html: Arc<str>,
    /// Number of the frame in which the content changed.
    changed: u64,
}

impl Frame {
    /// The next frame. Parts that are not given stay as they are.
    pub(super) fn next(&self, number: u64, contents: Vec<(String, Markup)>) -> Self {
        let mut next = Self { number, parts: self.parts.clone() };
        contents.into_iter().for_each(|(id, html)| next.put(id, html.into_string()));
        next
    }

    fn put(&mut self, id: String, html: String) {
        let changed = self.number;
        match self.parts.iter_mut().find(|part| part.id == id) {
            Some(part) if *part.html == *html => {}
            Some(part) => (part.html, part.changed) = (html.into(), changed),
            None => self.parts.push(Part { id, html: html.into(), changed }),
        }
    }

    /// Content of a part.
    pub(super) fn part(&self, id: &str) -> Markup {
        let part = self.parts.iter().find(|part| part.id == id);
        PreEscaped(part.map(|part| part.html.to_string()).unwrap_or_default())
    }

    /// All changes since a frame, as one server-sent event for each part.
    pub(super) fn events_after(&self, number: u64) -> String {
        let mut events = String::new();
        for part in self.parts.iter().filter(|part| part.changed > number) {
            // Writing to a string does not fail.
            let _ = writeln!(events, "event: {}", part.id);
            // Each of these ends a line of an event: the rest must not become a field.
            for line in part.html.split(['\n', '\r']) {
                let _ = writeln!(events, "data: {line}");
            }
            events.push('\n');
        }
        if events.is_empty() {
            events.push_str(":\n\n");
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(id: &str, html: &str) -> (String, Markup) {
        (id.to_owned(), PreEscaped(html.to_owned()))
    }

    #[test]
    fn only_what_changed_is_sent() {
        let first = Frame::default().next(1, vec![content("a", "x"), content("b", "y")]);
        let second = first.next(2, vec![content("a", "x"), content("b", "z")]);
        assert_eq!(first.events_after(0), "event: a\ndata: x\n\nevent: b\ndata: y\n\n");
        assert_eq!(second.events_after(1), "event: b\ndata: z\n\n");
        assert_eq!(second.events_after(0).matches("event:").count(), 2);
        assert_eq!(second.events_after(2), ":\n\n");
        assert_eq!(second.part("b").into_string(), "z");
    }

    #[test]
    fn no_content_can_forge_an_event() {
        for end in ["\n", "\r", "\r\n", "\n\n"] {
            let html = format!("x{end}event: status{end}data: y");
            let events = Frame::default().next(1, vec![content("a", &html)]).events_after(0);
            let lines: Vec<_> =
                events.split(['\n', '\r']).filter(|line| !line.is_empty()).collect();
            assert_eq!(lines[0], "event: a");
            assert!(lines[1..].iter().all(|line| line.starts_with("data: ")), "{events:?}");
        }
    }
}
