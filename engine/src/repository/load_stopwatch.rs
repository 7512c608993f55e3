//! Cumulative time spent on loading and unloading models. One thread writes it; readers take no
//! lock.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// Bit of the word that is set while the stopwatch runs.
const RUNNING: u64 = 1 << 63;

/// The stopwatch. Its word holds the elapsed time while stopped, and the current time minus the
/// elapsed time while running. So one read gives either.
pub(crate) struct LoadStopwatch {
    origin: Instant,
    word: AtomicU64,
}

impl Default for LoadStopwatch {
    fn default() -> Self {
        Self { origin: Instant::now(), word: AtomicU64::new(0) }
    }
}

/// A guard that stops the stopwatch when it is dropped.
pub(crate) struct Running<'a>(&'a LoadStopwatch);

impl LoadStopwatch {
    /// Starts the stopwatch.
    pub(crate) fn start(&self) -> Running<'_> {
        let elapsed = self.word.load(Relaxed);
        let since = self.micros(Instant::now()).saturating_sub(elapsed);
        self.word.store(since | RUNNING, Relaxed);
        Running(self)
    }

    /// Microseconds elapsed at a time, which is now or a moment ago.
    pub(crate) fn elapsed_us(&self, at: Instant) -> u64 {
        let word = self.word.load(Relaxed);
        if word & RUNNING == 0 { word } else { self.micros(at).saturating_sub(word & !RUNNING) }
    }

    fn micros(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.origin).as_micros();
        u64::try_from(since).unwrap_or(u64::MAX) & !RUNNING
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let elapsed = self.0.elapsed_us(Instant::now());
        self.0.word.store(elapsed, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn it_counts_only_while_it_runs() {
        let stopwatch = LoadStopwatch::default();
        let after = |ms| stopwatch.origin + Duration::from_millis(ms);
        assert_eq!(stopwatch.elapsed_us(after(50)), 0);
        let running = stopwatch.start();
        let first = stopwatch.elapsed_us(after(1_000_000));
        assert_eq!(stopwatch.elapsed_us(after(1_000_010)) - first, 10_000);
        drop(running);
        let elapsed = stopwatch.elapsed_us(after(2_000_000));
        assert!(elapsed < 900_000_000, "it ran for a moment: {elapsed}");
        assert_eq!(stopwatch.elapsed_us(after(3_000_000)), elapsed);
    }
}
