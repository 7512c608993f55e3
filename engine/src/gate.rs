//! Lets a few of many through in each span of time, and counts the others: for lines of the log
//! that a caller can bring about.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Seconds of a span.
pub const SPAN_S: u64 = 10;

/// How many go through in a span.
pub const THROUGH_MAX: u32 = 3;

/// A gate. Its word holds the number of the span, and how many came in it.
#[derive(Debug, Default)]
pub struct Gate(AtomicU64);

/// What a gate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Go through; so many did not in the span before.
    Through {
        /// Since this was last told.
        left_out: u32,
    },
    /// Stay out.
    Out,
}

impl Gate {
    /// Somebody comes, so many seconds after some beginning.
    pub fn pass(&self, now_s: u64) -> Pass {
        let span = now_s / SPAN_S;
        let mut pass = Pass::Out;
        let come = |word| {
            let (of, came) = parts(word);
            let (came, left_out) = if of == span { (came, 0) } else { (0, left_out(came)) };
            let is_through = came < THROUGH_MAX;
            pass = if is_through { Pass::Through { left_out } } else { Pass::Out };
            Some(word_of(span, came.saturating_add(1)))
        };
        // It gives a new word always.
        let _ = self.0.fetch_update(Relaxed, Relaxed, come);
        pass
    }

    /// How many stayed out in a span that is over, unless that was told.
    pub fn left_out(&self, now_s: u64) -> u32 {
        let span = now_s / SPAN_S;
        let close = |word| {
            let (of, came) = parts(word);
            (of < span && left_out(came) > 0).then(|| word_of(of, 0))
        };
        self.0.fetch_update(Relaxed, Relaxed, close).map_or(0, |word| left_out(parts(word).1))
    }
}

fn parts(word: u64) -> (u64, u32) {
    (word >> 32, (word & u64::from(u32::MAX)) as u32)
}

fn word_of(span: u64, came: u32) -> u64 {
    span << 32 | u64::from(came)
}

fn left_out(came: u32) -> u32 {
    came.saturating_sub(THROUGH_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_go_through_and_the_others_are_told_once() {
        let gate = Gate::default();
        let passes: Vec<_> = (0..10).map(|_| gate.pass(5)).collect();
        let through = Pass::Through { left_out: 0 };
        assert_eq!(passes[..4], [through, through, through, Pass::Out]);
        assert_eq!(gate.left_out(9), 0, "the span goes on");
        assert_eq!(gate.pass(10), Pass::Through { left_out: 7 });
        assert_eq!(gate.pass(11), through);
    }

    #[test]
    fn when_nobody_comes_any_more_the_others_are_told_all_the_same() {
        let gate = Gate::default();
        let passes: Vec<_> = (0..5).map(|_| gate.pass(25)).collect();
        assert_eq!(passes[3..], [Pass::Out; 2]);
        assert_eq!(gate.left_out(31), 2);
        assert_eq!(gate.left_out(31), 0);
        assert_eq!(gate.pass(32), Pass::Through { left_out: 0 });
    }
}
