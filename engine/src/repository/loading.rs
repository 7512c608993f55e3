//! How long models have been loaded and unloaded so far: a clock that goes while that is done, and
//! that anybody may read at any time. One thread winds it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// Set in the word while the clock goes.
const GOES: u64 = 1 << 63;

/// The clock. Its word is what it shows while it stands, and the time less what it shows while it
/// goes, so that one read tells either.
pub(crate) struct Loading {
    start: Instant,
    word: AtomicU64,
}

impl Default for Loading {
    fn default() -> Self {
        Self { start: Instant::now(), word: AtomicU64::new(0) }
    }
}

/// Stops the clock when it is dropped.
pub(crate) struct Going<'a>(&'a Loading);

impl Loading {
    /// Lets the clock go.
    pub(crate) fn go(&self) -> Going<'_> {
        let shows = self.word.load(Relaxed);
        let since = self.micros(Instant::now()).saturating_sub(shows);
        self.word.store(since | GOES, Relaxed);
        Going(self)
    }

    /// What the clock shows at a time, which is now or a moment ago, in microseconds.
    pub(crate) fn shows_us(&self, at: Instant) -> u64 {
        let word = self.word.load(Relaxed);
        if word & GOES == 0 { word } else { self.micros(at).saturating_sub(word & !GOES) }
    }

    fn micros(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.start).as_micros();
        u64::try_from(since).unwrap_or(u64::MAX) & !GOES
    }
}

impl Drop for Going<'_> {
    fn drop(&mut self) {
        let shows = self.0.shows_us(Instant::now());
        self.0.word.store(shows, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn it_shows_the_time_in_which_it_went() {
        let loading = Loading::default();
        let after = |ms| loading.start + Duration::from_millis(ms);
        assert_eq!(loading.shows_us(after(50)), 0);
        let going = loading.go();
        let begun = loading.shows_us(after(1_000_000));
        assert_eq!(loading.shows_us(after(1_000_010)) - begun, 10_000);
        drop(going);
        let shows = loading.shows_us(after(2_000_000));
        assert!(shows < 900_000_000, "it went for a moment: {shows}");
        assert_eq!(loading.shows_us(after(3_000_000)), shows);
    }
}
