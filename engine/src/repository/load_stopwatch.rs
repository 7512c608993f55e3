//! Cumulative time in which models were loaded or unloaded. Readers take no lock.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// Bit of the word that is set while the stopwatch runs.
const RUNNING: u64 = 1 << 63;

/// The stopwatch. It runs while at least one load does. Its word holds the elapsed time while
/// stopped, and the current time minus the elapsed time while running. So one read gives either.
pub(crate) struct LoadStopwatch {
    origin: Instant,
    word: AtomicU64,
    /// Loads that run.
    loads: Mutex<usize>,
}

impl Default for LoadStopwatch {
    fn default() -> Self {
        Self { origin: Instant::now(), word: AtomicU64::new(0), loads: Mutex::new(0) }
    }
}

/// A guard that ends one load's time when it is dropped.
pub(crate) struct Running<'a>(&'a LoadStopwatch);

impl LoadStopwatch {
    /// Starts the stopwatch, unless another load runs.
    pub(crate) fn start(&self) -> Running<'_> {
        let mut loads = self.loads.lock();
        if *loads == 0 {
            let elapsed = self.word.load(Relaxed);
            let since = self.micros(Instant::now()).saturating_sub(elapsed);
            self.word.store(since | RUNNING, Relaxed);
        }
        *loads += 1;
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
        let mut loads = self.0.loads.lock();
        *loads = loads.saturating_sub(1);
        if *loads == 0 {
            let elapsed = self.0.elapsed_us(Instant::now());
            self.0.word.store(elapsed, Relaxed);
        }
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

    #[test]
    fn it_runs_until_the_last_of_several_loads_ends() {
        let stopwatch = LoadStopwatch::default();
        let after = |ms| stopwatch.origin + Duration::from_millis(ms);
        let (first, second) = (stopwatch.start(), stopwatch.start());
        drop(first);
        let runs =
            || stopwatch.elapsed_us(after(2_000_000)) != stopwatch.elapsed_us(after(1_000_000));
        assert!(runs());
        drop(second);
        assert!(!runs());
    }
}
