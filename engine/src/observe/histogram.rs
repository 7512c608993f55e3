//! A histogram with fine buckets, recorded without a lock.
//!
//! Buckets are those of Prometheus' native histograms of schema 3: eight for each power of two. So a
//! value and its bucket's bound differ by at most 9 %. Threads count in separate shards, which a
//! snapshot adds up.
//! Source: Prometheus, "Native Histograms", section "Standard exponential schemas".

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

#[cfg(test)]
mod tests;

/// Schema number: each power of two has `2^SCHEMA` buckets.
pub const SCHEMA: u8 = 3;

const PER_POWER: i32 = 1 << SCHEMA;

/// Largest value of the zero bucket, `2^-20`: a microsecond if the unit is seconds.
pub const ZERO_THRESHOLD: f64 = 1.0 / (1 << 20) as f64;

/// Exponent of [`ZERO_THRESHOLD`].
const POWER_MIN: i32 = -20;

/// Exponent of the largest bound, `2^12`: an hour if the unit is seconds. Larger values count there.
const POWER_MAX: i32 = 12;

/// Index of the first bucket above the zero bucket.
const INDEX_MIN: i32 = POWER_MIN * PER_POWER + 1;

const BUCKETS: usize = ((POWER_MAX - POWER_MIN) * PER_POWER) as usize;

/// Shards in which threads count.
const SHARDS: usize = 16;

/// Upper bounds of the buckets of one power, for values from 0.5 to 1.
const FRACTIONS: [f64; PER_POWER as usize] = [
    0.5,
    0.545_253_866_332_628_8,
    0.594_603_557_501_360_5,
    0.648_419_777_325_504_9,
    std::f64::consts::FRAC_1_SQRT_2,
    0.771_105_412_703_970_6,
    0.840_896_415_253_714_6,
    0.917_004_043_204_671_2,
];

/// Unit of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds, recorded in nanoseconds.
    Seconds,
    /// Counts, recorded unchanged.
    Count,
}

impl Unit {
    fn scale(self) -> f64 {
        match self {
            Self::Seconds => 1e-9,
            Self::Count => 1.0,
        }
    }
}

/// Counts of values by bucket.
pub struct Histogram {
    unit: Unit,
    shards: [OnceLock<Box<Shard>>; SHARDS],
}

struct Shard {
    zero: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
}

impl Default for Shard {
    fn default() -> Self {
        let buckets = std::array::from_fn(|_| AtomicU64::new(0));
        Self { zero: AtomicU64::new(0), buckets, sum: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// Makes an empty histogram.
    pub fn new(unit: Unit) -> Self {
        Self { unit, shards: std::array::from_fn(|_| OnceLock::new()) }
    }

    /// Counts a value.
    pub fn record(&self, value: u64) {
        let shard = self.shards[shard()].get_or_init(Box::default);
        let bucket = match bucket(value as f64 * self.unit.scale()) {
            None => &shard.zero,
            Some(bucket) => &shard.buckets[bucket],
        };
        bucket.fetch_add(1, Relaxed);
        shard.sum.fetch_add(value, Relaxed);
    }

    /// Returns all counts so far.
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::empty(self.unit);
        for shard in self.shards.iter().filter_map(OnceLock::get) {
            snapshot.zero += shard.zero.load(Relaxed);
            snapshot.sum += shard.sum.load(Relaxed);
            for (sum, bucket) in snapshot.buckets.iter_mut().zip(&shard.buckets) {
                *sum += bucket.load(Relaxed);
            }
        }
        snapshot
    }
}

/// Index of the calling thread's shard.
fn shard() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: Cell<Option<usize>> = const { Cell::new(None) };
    }
    OWN.get().unwrap_or_else(|| {
        let own = THREADS.fetch_add(1, Relaxed) % SHARDS;
        OWN.set(Some(own));
        own
    })
}

/// Position of a value's bucket; `None` for the zero bucket.
fn bucket(value: f64) -> Option<usize> {
    // NaN counts as zero too.
    if value.is_nan() || value <= ZERO_THRESHOLD {
        return None;
    }
    let index = index(value);
    usize::try_from(index - INDEX_MIN).ok().map(|bucket| bucket.min(BUCKETS - 1))
}

/// Index of a positive value's bucket in the schema. The upper bound of bucket `i` is `2^(i/8)`.
fn index(value: f64) -> i32 {
    const MANTISSA_BITS: u64 = 52;
    let bits = value.to_bits();
    // The value is a fraction of at least a half, times a power of two.
    let power = i32::try_from((bits >> MANTISSA_BITS) & 0x7ff).unwrap_or(0) - 1022;
    let fraction = f64::from_bits(bits & ((1 << MANTISSA_BITS) - 1) | 1022 << MANTISSA_BITS);
    let below: i32 = FRACTIONS.iter().map(|&bound| i32::from(bound < fraction)).sum();
    below + (power - 1) * PER_POWER
}

/// Counts of a histogram at one time.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    unit: Unit,
    zero: u64,
    buckets: Vec<u64>,
    sum: u64,
}

impl Snapshot {
    /// Makes an empty snapshot.
    pub fn empty(unit: Unit) -> Self {
        Self { unit, zero: 0, buckets: vec![0; BUCKETS], sum: 0 }
    }

    /// Number of values.
    pub fn count(&self) -> u64 {
        self.zero + self.buckets.iter().sum::<u64>()
    }

    /// Sum of all values, in the unit.
    pub fn sum(&self) -> f64 {
        self.sum as f64 * self.unit.scale()
    }

    /// Mean of the values; `None` if there are none.
    pub fn mean(&self) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| self.sum() / count as f64)
    }

    /// Counts since an earlier snapshot of the same histogram.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let pairs = self.buckets.iter().zip(&earlier.buckets);
        Self {
            unit: self.unit,
            zero: self.zero.saturating_sub(earlier.zero),
            buckets: pairs.map(|(now, then)| now.saturating_sub(*then)).collect(),
            sum: self.sum.saturating_sub(earlier.sum),
        }
    }

    /// Adds the counts of another snapshot.
    pub fn add(&mut self, other: &Self) {
        self.zero += other.zero;
        self.sum += other.sum;
        for (sum, count) in self.buckets.iter_mut().zip(&other.buckets) {
            *sum += count;
        }
    }

    /// Quantile of the values, such as 0.99, accurate to 9 %; `None` if there are none.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let count = self.count();
        let rank = (share.clamp(0.0, 1.0) * count as f64).ceil().max(1.0) as u64;
        let mut seen = self.zero;
        if count == 0 {
            return None;
        }
        if seen >= rank {
            return Some(0.0);
        }
        for (index, bucket) in self.native() {
            if seen + bucket >= rank {
                // Values are assumed to spread evenly in a bucket, on the scale of powers.
                let position = (rank - seen) as f64 / bucket as f64;
                let eighths = f64::from(index) - 1.0 + position;
                return Some((eighths / f64::from(PER_POWER)).exp2());
            }
            seen += bucket;
        }
        None
    }

    /// Number of values in the zero bucket.
    pub fn zero(&self) -> u64 {
        self.zero
    }

    /// The other buckets that are not empty: indices in the schema, ascending, with counts.
    pub fn native(&self) -> impl Iterator<Item = (i32, u64)> {
        (INDEX_MIN..).zip(self.buckets.iter().copied()).filter(|(_, count)| *count > 0)
    }

    /// Number of values that are at most `2^power`.
    pub fn at_most(&self, power: i32) -> u64 {
        let Ok(buckets) = usize::try_from((power - POWER_MIN) * PER_POWER) else { return 0 };
        self.zero + self.buckets.iter().take(buckets).sum::<u64>()
    }
}
