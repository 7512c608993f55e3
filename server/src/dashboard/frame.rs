//! What the parts of the page hold at one moment, and as the events that bring it there.

use maud::{Markup, PreEscaped};
use std::fmt::Write;
use std::sync::Arc;

/// The content of all parts.
#[derive(Clone, Debug, Default)]
pub(super) struct Frame {
    /// Which one it is: they are counted.
    pub(super) number: u64,
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
struct Part {
    id: String,
    html: Arc<str>,
    /// The frame that brought this content.
    changed: u64,
}

impl Frame {
    /// The next one: what is not given stays as it is.
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

    /// The content of a part.
    pub(super) fn part(&self, id: &str) -> Markup {
        let part = self.parts.iter().find(|part| part.id == id);
        PreEscaped(part.map(|part| part.html.to_string()).unwrap_or_default())
    }

    /// All that changed after a frame, as server-sent events: one for each part, by its id.
    pub(super) fn events_after(&self, number: u64) -> String {
        let mut events = String::new();
        for part in self.parts.iter().filter(|part| part.changed > number) {
            // It can not fail: a string takes everything.
            let _ = writeln!(events, "event: {}", part.id);
            // Each of these ends a line of an event, and what follows must not be taken for one.
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
    fn no_content_can_make_an_event_of_its_own() {
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
