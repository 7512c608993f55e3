//! The slowest requests of the last minutes, and a sample of those without an answer: a memory of
//! fixed size that no request waits for.
//!
//! Time goes by in buckets, and each has a few places. A place is a word, whose upper part is the
//! bucket's turn and whose lower part is how much its request is worth to be kept, and the request
//! itself. Words only grow: a request takes the place of the smallest word, if its own is larger, so
//! what is left of an earlier turn gives way by itself. The smallest word is remembered, and nearly
//! every request is sent away by that alone.

use crate::error::Reason;
use crate::request_record::{Outcome, RequestRecord};
use arc_swap::ArcSwapOption;
use skysail_policy::mix64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// How long a bucket is.
const BUCKET: Duration = Duration::from_secs(5);

/// What is told of: all but the bucket that is being filled.
pub const WINDOW_MAX: Duration = Duration::from_secs(BUCKET.as_secs() * (BUCKETS as u64 - 1));

const BUCKETS: usize = 61;

/// Requests that are kept of a bucket, of each kind.
const PLACES: usize = 8;

/// Bits of a word that say what its request is worth: twelve days in microseconds.
const WORTH_BITS: u32 = 40;

const WORTH_MAX: u64 = (1 << WORTH_BITS) - 1;

/// Requests that are worth a look later.
pub struct SlowestRequests {
    start: Instant,
    slow: Ring,
    unanswered: Ring,
}

impl Default for SlowestRequests {
    fn default() -> Self {
        Self { start: Instant::now(), slow: Ring::default(), unanswered: Ring::default() }
    }
}

impl SlowestRequests {
    /// Keeps a request that is over, if it is among the slowest of its time, or was not answered
    /// and has the luck to be kept.
    pub fn offer(&self, record: &RequestRecord) -> Option<Arc<RequestRecord>> {
        let turn = self.turn(record.ended());
        match record.outcome {
            Outcome::Answered | Outcome::Missed => self.slow.offer(turn, record.total_us(), record),
            outcome => self.unanswered.offer(turn, luck(record, outcome), record),
        }
    }

    /// The requests that ended within `window` before `now`, as far as they are kept, the slowest
    /// first. A window longer than [`WINDOW_MAX`] is that.
    pub fn read(&self, window: Duration, now: Instant) -> Vec<Arc<RequestRecord>> {
        let window = window.min(WINDOW_MAX);
        let is_within =
            |record: &Arc<RequestRecord>| now.saturating_duration_since(record.ended()) <= window;
        let both = self.slow.all().chain(self.unanswered.all());
        let mut kept: Vec<_> = both.filter(is_within).collect();
        kept.sort_by_key(|record| std::cmp::Reverse(record.total_us()));
        kept
    }

    /// The number of a time's bucket, from 1 on.
    fn turn(&self, time: Instant) -> u64 {
        time.saturating_duration_since(self.start).as_secs() / BUCKET.as_secs() + 1
    }
}

/// What a request without an answer is worth: whatever broke goes before what was turned down or
/// was no good, and among those each has the same chance.
fn luck(record: &RequestRecord, outcome: Outcome) -> u64 {
    let is_broken = matches!(outcome, Outcome::Failed(Reason::Backend | Reason::Other));
    // Similar times become unlike numbers.
    let bits = mix64(record.ended_us ^ (record.ends.last_ns() << 20));
    let half = WORTH_MAX >> 1;
    if is_broken { half + 1 + (bits & half) } else { bits & half }
}

/// Places by time.
struct Ring {
    buckets: Box<[Bucket]>,
}

impl Default for Ring {
    fn default() -> Self {
        Self { buckets: (0..BUCKETS).map(|_| Bucket::default()).collect() }
    }
}

#[derive(Default)]
struct Bucket {
    /// No word is smaller than this.
    least: AtomicU64,
    words: [AtomicU64; PLACES],
    kept: [ArcSwapOption<Kept>; PLACES],
}

struct Kept {
    word: u64,
    record: Arc<RequestRecord>,
}

impl Ring {
    fn offer(&self, turn: u64, worth: u64, record: &RequestRecord) -> Option<Arc<RequestRecord>> {
        let bucket = &self.buckets[(turn % BUCKETS as u64) as usize];
        // Even what is worth nothing is more than an empty place.
        let word = turn << WORTH_BITS | worth.min(WORTH_MAX);
        if word <= bucket.least.load(Relaxed) {
            return None;
        }
        bucket.offer(word, record)
    }

    fn all(&self) -> impl Iterator<Item = Arc<RequestRecord>> {
        let kept = self.buckets.iter().flat_map(|bucket| &bucket.kept);
        kept.filter_map(|kept| kept.load().as_ref().map(|kept| Arc::clone(&kept.record)))
    }
}

impl Bucket {
    fn offer(&self, word: u64, record: &RequestRecord) -> Option<Arc<RequestRecord>> {
        loop {
            let (place, smallest) = self.smallest();
            if word <= smallest {
                self.least.fetch_max(smallest, Relaxed);
                return None;
            }
            let taken = self.words[place].compare_exchange(smallest, word, Relaxed, Relaxed);
            if taken.is_ok() {
                let record = Arc::new(record.clone());
                self.put(place, word, &record);
                let (_, smallest) = self.smallest();
                self.least.fetch_max(smallest, Relaxed);
                return Some(record);
            }
        }
    }

    fn smallest(&self) -> (usize, u64) {
        let words = self.words.iter().map(|word| word.load(Relaxed)).enumerate();
        words.min_by_key(|(_, word)| *word).unwrap_or((0, u64::MAX))
    }

    /// Puts a request in its place, unless a larger word has taken that meanwhile.
    fn put(&self, place: usize, word: u64, record: &Arc<RequestRecord>) {
        let new = Arc::new(Kept { word, record: Arc::clone(record) });
        self.kept[place].rcu(|old| match old {
            Some(old) if old.word > word => Some(Arc::clone(old)),
            _ => Some(Arc::clone(&new)),
        });
    }
}
