//! Runs of parameters with the same update rule.

use crate::layout::{EntryKind, Layout};
use std::ops::Range;

/// Neighbouring entries of one kind.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Span {
    pub(crate) range: Range<usize>,
    pub(crate) kind: EntryKind,
}

/// Splits the layout into the fewest runs of one kind.
pub(crate) fn spans(layout: &Layout) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for entry in layout.entries() {
        match spans.last_mut() {
            Some(last) if last.kind == entry.kind => last.range.end = entry.range.end,
            _ => spans.push(Span { range: entry.range.clone(), kind: entry.kind }),
        }
    }
    spans
}

impl Span {
    /// The part of the span in `range`, if any.
    pub(crate) fn within(&self, range: &Range<usize>) -> Option<Range<usize>> {
        let part = self.range.start.max(range.start)..self.range.end.min(range.end);
        (!part.is_empty()).then_some(part)
    }
}
