//! Records of the slowest requests of the last minutes, and a sample of failed ones, in a fixed
//! amount of memory.
//!
//! Time is divided into buckets, which are reused in turn. Each keeps the requests of the highest
//! rank. The rank's upper part is the number of the turn, so new requests displace those of an
//! earlier turn. The lowest rank kept is also an atomic. One load of it rejects nearly every request,
//! and only the others take the bucket's lock.

use crate::error::Reason;
use crate::request_record::{Outcome, RequestRecord};
use parking_lot::Mutex;
use skysail_policy::mix64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// Length of a bucket.
const BUCKET: Duration = Duration::from_secs(5);

/// Longest window that can be read: all buckets except the one being filled.
pub const WINDOW_MAX: Duration = Duration::from_secs(BUCKET.as_secs() * (BUCKETS as u64 - 1));

/// Buckets of a ring.
const BUCKETS: usize = 61;

/// Requests kept in a bucket.
const KEPT_MAX: usize = 8;

/// Bits of a rank for the score of a request: twelve days in microseconds.
const SCORE_BITS: u32 = 40;

const SCORE_MAX: u64 = (1 << SCORE_BITS) - 1;

/// Records of the slowest requests, and a sample of failed ones.
pub struct SlowestRequests {
    start: Instant,
    slow: Ring,
    failed: Ring,
}

impl Default for SlowestRequests {
    fn default() -> Self {
        Self { start: Instant::now(), slow: Ring::default(), failed: Ring::default() }
    }
}

impl SlowestRequests {
    /// Keeps a finished request if it is among the slowest of its bucket, or is sampled as a failed
    /// one. Returns the kept record.
    pub fn offer(&self, record: &RequestRecord) -> Option<Arc<RequestRecord>> {
        let turn = self.turn(record.ended());
        match record.outcome {
            Outcome::Answered | Outcome::Missed => self.slow.offer(turn, record.total_us(), record),
            outcome => self.failed.offer(turn, sampling_score(record, outcome), record),
        }
    }

    /// The kept requests that ended within `window` before `now`, the slowest first. The window is
    /// limited to [`WINDOW_MAX`].
    pub fn read(&self, window: Duration, now: Instant) -> Vec<Arc<RequestRecord>> {
        let window = window.min(WINDOW_MAX);
        let is_within =
            |record: &Arc<RequestRecord>| now.saturating_duration_since(record.ended()) <= window;
        let both = self.slow.all().chain(self.failed.all());
        let mut kept: Vec<_> = both.filter(is_within).collect();
        kept.sort_by_key(|record| std::cmp::Reverse(record.total_us()));
        kept
    }

    /// Number of the bucket that a time falls into, counted from 1 without reuse.
    fn turn(&self, time: Instant) -> u64 {
        time.saturating_duration_since(self.start).as_secs() / BUCKET.as_secs() + 1
    }
}

/// Score of a failed request. Internal failures rank above rejected and invalid requests. Within
/// each group the score is random, so that all have the same chance.
fn sampling_score(record: &RequestRecord, outcome: Outcome) -> u64 {
    let is_internal = matches!(outcome, Outcome::Failed(Reason::Backend | Reason::Other));
    // Mixing makes different scores of similar times.
    let bits = mix64(record.ended_us ^ (record.ends.last_ns() << 20));
    let half = SCORE_MAX >> 1;
    if is_internal { half + 1 + (bits & half) } else { bits & half }
}

/// Buckets by time.
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
    /// Lowest rank in `kept` once that is full; 0 before.
    lowest: AtomicU64,
    kept: Mutex<Vec<Kept>>,
}

struct Kept {
    rank: u64,
    record: Arc<RequestRecord>,
}

impl Ring {
    fn offer(&self, turn: u64, score: u64, record: &RequestRecord) -> Option<Arc<RequestRecord>> {
        let bucket = &self.buckets[(turn % BUCKETS as u64) as usize];
        let rank = turn << SCORE_BITS | score.min(SCORE_MAX);
        if rank <= bucket.lowest.load(Relaxed) {
            return None;
        }
        bucket.offer(rank, record)
    }

    fn all(&self) -> impl Iterator<Item = Arc<RequestRecord>> {
        let records = |bucket: &Bucket| -> Vec<_> {
            bucket.kept.lock().iter().map(|kept| Arc::clone(&kept.record)).collect()
        };
        self.buckets.iter().flat_map(records)
    }
}

impl Bucket {
    fn offer(&self, rank: u64, record: &RequestRecord) -> Option<Arc<RequestRecord>> {
        let mut kept = self.kept.lock();
        if kept.len() == KEPT_MAX {
            // Another thread may have raised the lowest rank in the meantime.
            kept.pop_if(|lowest| lowest.rank < rank)?;
        }
        let record = Arc::new(record.clone());
        kept.push(Kept { rank, record: Arc::clone(&record) });
        // The lowest rank comes last.
        kept.sort_unstable_by_key(|kept| std::cmp::Reverse(kept.rank));
        if let (KEPT_MAX, Some(lowest)) = (kept.len(), kept.last()) {
            self.lowest.store(lowest.rank, Relaxed);
        }
        Some(record)
    }
}
