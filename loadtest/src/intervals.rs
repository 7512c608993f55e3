//! Collects the records of a run's threads, interval by interval.

use crate::arrival::Window;
use crate::load::Load;
use crate::prepare::Prepared;
use crate::record::Recorder;
use crate::report::Interval;
use crate::run::Progress;
use parking_lot::Mutex;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

/// Records of a run so far. The threads' recorders are emptied at the end of each interval.
pub(crate) struct Intervals {
    pub(crate) total: Recorder,
    /// Replaces a thread's recorder while that is read.
    spare: Recorder,
    interval: Recorder,
    pub(crate) finished: Vec<Interval>,
    window: Window,
    until: Duration,
}

impl Intervals {
    pub(crate) fn new(prepared: &Prepared, load: &Load) -> Self {
        let recorder = || Recorder::new(load, prepared.kinds.len());
        let (total, spare, interval) = (recorder(), recorder(), recorder());
        let (window, until) = (load.window, load.window.warm_up);
        Self { total, spare, interval, finished: Vec::new(), window, until }
    }

    /// True if at least half an interval passed since the last one ended.
    pub(crate) fn is_due(&self, now: Duration) -> bool {
        now >= self.until + self.window.interval() / 2
    }

    /// Takes the records since the last call.
    pub(crate) fn drain(&mut self, recorders: &[Arc<Mutex<Recorder>>], now: Duration) {
        self.interval.clear();
        for recorder in recorders {
            mem::swap(&mut *recorder.lock(), &mut self.spare);
            self.interval.add(&self.spare);
            self.spare.clear();
        }
        self.total.add(&self.interval);
        let length = now.saturating_sub(self.until);
        let is_over = self.until >= self.window.end();
        let is_empty = self.interval.answered() + self.interval.failed() == 0;
        self.until = self.until.max(now);
        // After the measurement only slow requests end.
        if length.is_zero() || (is_over && is_empty) {
            return;
        }
        let end_s = now.saturating_sub(self.window.warm_up).as_secs_f64();
        self.finished.push(Interval::new(end_s, length.as_secs_f64(), &self.interval));
    }

    pub(crate) fn progress(&self, elapsed: Duration) -> Progress<'_> {
        Progress {
            elapsed,
            answered: self.total.answered(),
            failed: self.total.failed(),
            rejected: self.total.rejected(),
            intervals: &self.finished,
        }
    }
}

/// Start of the first interval that ends with the warm-up or after it.
pub(crate) fn first_begins(window: Window) -> Duration {
    // Both come from flags of a day at most.
    let left = window.warm_up.as_nanos().checked_rem(window.interval().as_nanos());
    Duration::from_nanos(left.and_then(|left| u64::try_from(left).ok()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::tests::load;
    use crate::prepare::tests::prepared;
    use crate::record::Completion;

    #[test]
    fn intervals_count_the_requests_that_ended_in_them_and_the_total_counts_all() {
        let load = load();
        let mut intervals = Intervals::new(&prepared(1), &load);
        let recorders = [(); 2].map(|()| Arc::new(Mutex::new(Recorder::new(&load, 1))));
        let ms = Duration::from_millis;
        let end = |thread: usize, at_ms: u64, end_ms: u64| {
            let (at, end) = (ms(at_ms), ms(end_ms));
            let ended = Completion { kind: 0, at, end, result: &Ok(()) };
            recorders[thread].lock().record_completion(ended);
        };
        assert!(
            !intervals.is_due(ms(500)) && !intervals.is_due(ms(1_001)),
            "the warm-up is no interval"
        );
        assert!(intervals.is_due(ms(1_499)));
        end(0, 1_000, 1_100);
        end(1, 1_200, 1_300);
        intervals.drain(&recorders, ms(1_500));
        end(1, 1_300, 1_900);
        intervals.drain(&recorders, ms(2_000));
        let found: Vec<_> =
            intervals.finished.iter().map(|i| (i.end_s, i.length_s, i.answered)).collect();
        assert_eq!(found, [(0.5, 0.5, 2), (1.0, 0.5, 1)]);
        assert_eq!(intervals.progress(ms(2_000)).answered, 3);
    }

    #[test]
    fn waiting_for_a_slow_response_makes_no_long_interval() {
        let load = load();
        let mut intervals = Intervals::new(&prepared(1), &load);
        let recorders = [Arc::new(Mutex::new(Recorder::new(&load, 1)))];
        let ms = Duration::from_millis;
        for half in 3..60 {
            intervals.drain(&recorders, ms(half * 500));
        }
        let (at, end) = (ms(10_000), ms(29_600));
        recorders[0].lock().record_completion(Completion { kind: 0, at, end, result: &Ok(()) });
        intervals.drain(&recorders, ms(29_700));
        let found: Vec<_> = intervals.finished.iter().map(|i| (i.end_s, i.answered)).collect();
        // A half second without an answer is part of the measurement, but not after its end.
        assert_eq!((found.len(), found[19], found[20]), (21, (10.0, 0), (28.7, 1)));
        assert!(intervals.finished.iter().all(|i| i.length_s <= 0.5), "{:?}", intervals.finished);
    }

    #[test]
    fn intervals_begin_where_the_measurement_does() {
        let begins = |warm_up_ms| {
            let (warm_up, duration) = (Duration::from_millis(warm_up_ms), Duration::from_secs(10));
            first_begins(Window { warm_up, duration }).as_millis()
        };
        assert_eq!([begins(1_200), begins(1_000), begins(0)], [200, 0, 0]);
    }
}
