//! The last five minutes: readings of counters, a few seconds apart.
//!
//! All figures are differences of two readings.

use super::sample::{Counted, Reading};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Seconds between two readings in the history.
pub(super) const STEP_S: u64 = 3;

/// Steps in the history: five minutes.
pub(super) const STEPS: usize = 100;

/// Steps of the current figures.
const RECENT_STEPS: usize = 3;

/// Name and version of a model.
pub(super) type Key = (Arc<str>, u64);

/// History of all versions in service.
#[derive(Default)]
pub(super) struct History {
    tracks: BTreeMap<Key, Track>,
}

/// History of one version.
pub(super) struct Track {
    /// Readings, each with the number of the step that it began.
    kept: VecDeque<(u64, Reading)>,
    latest: (u64, Reading),
}

/// Changes between two readings.
pub(super) struct Change {
    pub(super) seconds: f64,
    pub(super) counted: Counted,
}

impl History {
    /// Adds a reading of every version in service, and forgets other versions.
    pub(super) fn record(&mut self, now: Duration, readings: Vec<(Key, Reading)>) {
        let step = now.as_secs() / STEP_S;
        let mut before = std::mem::take(&mut self.tracks);
        let tracks = readings.into_iter().map(|(key, reading)| {
            let track = before.remove(&key).filter(|track| reading.follows(&track.latest.1));
            let track = match track {
                Some(track) => track.with(step, reading),
                None => Track::new(step, reading),
            };
            (key, track)
        });
        self.tracks = tracks.collect();
    }

    /// History of one version, if it is in service.
    pub(super) fn of(&self, key: &Key) -> Option<&Track> {
        self.tracks.get(key)
    }
}

impl Track {
    fn new(step: u64, reading: Reading) -> Self {
        Self { kept: VecDeque::from([(step, reading.clone())]), latest: (step, reading) }
    }

    fn with(mut self, step: u64, reading: Reading) -> Self {
        let reading = reading.sharing(&self.latest.1);
        if self.kept.back().is_some_and(|(last, _)| *last < step) {
            self.kept.push_back((step, reading.clone()));
        }
        while self.kept.front().is_some_and(|(first, _)| first + (STEPS as u64) < step) {
            self.kept.pop_front();
        }
        self.latest = (step, reading);
        self
    }

    /// Change in the last seconds.
    pub(super) fn recent(&self) -> Change {
        self.until_now(self.kept.len().saturating_sub(RECENT_STEPS + 1))
    }

    /// Change in the whole history.
    pub(super) fn whole(&self) -> Change {
        self.until_now(0)
    }

    fn until_now(&self, from: usize) -> Change {
        let latest = &self.latest.1;
        Change::between(self.kept.get(from).map_or(latest, |(_, reading)| reading), latest)
    }

    /// Changes of the complete steps, the newest last.
    pub(super) fn steps(&self) -> Vec<Option<Change>> {
        let mut steps: Vec<_> = (0..STEPS).map(|_| None).collect();
        for ((_, from), (ended, to)) in self.kept.iter().zip(self.kept.iter().skip(1)) {
            let age = usize::try_from(self.latest.0 - ended).unwrap_or(usize::MAX);
            if let Some(index) = (STEPS - 1).checked_sub(age) {
                steps[index] = Some(Change::between(from, to));
            }
        }
        steps
    }
}

impl Change {
    fn between(from: &Reading, to: &Reading) -> Self {
        let seconds = (to.at - from.at).as_secs_f64();
        Self { seconds, counted: to.counted.since(&from.counted) }
    }

    /// Rate per second.
    pub(super) fn rate(&self, count: u64) -> f64 {
        if self.seconds > 0.0 { count as f64 / self.seconds } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    /// Records a model that answers ten requests per second.
    fn watch(history: &mut History, seconds: impl Iterator<Item = u64>) {
        let start = Instant::now();
        for second in seconds {
            let now = Duration::from_secs(second);
            let counted = Counted { answered: 10 * second, ..Counted::default() };
            history.record(now, vec![(key(), Reading { at: start + now, counted })]);
        }
    }

    fn key() -> Key {
        ("m".into(), 1)
    }

    #[test]
    fn five_minutes_are_kept_and_no_more() {
        let mut history = History::default();
        watch(&mut history, 0..1000);
        let track = history.of(&key()).unwrap();
        assert_eq!(track.kept.len(), STEPS + 1);
        let (recent, whole) = (track.recent(), track.whole());
        assert_eq!((recent.rate(recent.counted.answered), recent.seconds), (10.0, 9.0));
        assert_eq!(whole.counted.answered, 10 * STEP_S * STEPS as u64);
        let steps = track.steps();
        assert!(steps.iter().flatten().all(|step| step.counted.answered == 10 * STEP_S));
        assert_eq!(steps.iter().flatten().count(), STEPS);
    }

    #[test]
    fn steps_before_the_first_reading_are_gaps() {
        let mut history = History::default();
        watch(&mut history, 0..8);
        let steps = history.of(&key()).unwrap().steps();
        assert_eq!(steps.iter().flatten().count(), 2);
        assert!(steps[STEPS - 1].is_some() && steps[STEPS - 3].is_none());
    }

    #[test]
    fn a_reloaded_version_starts_anew_and_a_missing_one_is_forgotten() {
        let mut history = History::default();
        watch(&mut history, (0..30).chain(0..2));
        let whole = history.of(&key()).unwrap().whole();
        assert_eq!(whole.counted.answered, 10);
        history.record(Duration::ZERO, Vec::new());
        assert!(history.of(&key()).is_none());
    }
}
