//! A histogram with buckets fine enough for any question, recorded without a lock.
//!
//! Buckets are those of Prometheus' native histograms of schema 3: eight to each power of two, so
//! that a value and its bucket's bound differ by 9% at most. Threads count in parts of their own,
//! which are put together when somebody looks.
//! Source: Prometheus, "Native Histograms", section "Standard exponential schemas".

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

#[cfg(test)]
mod tests;

/// The schema: each power of two has `2^SCHEMA` buckets.
pub const SCHEMA: u8 = 3;

const PER_POWER: i32 = 1 << SCHEMA;

/// Values up to this, `2^-20`, are in the bucket of zero: a microsecond, when they are seconds.
pub const ZERO_THRESHOLD: f64 = 1.0 / (1 << 20) as f64;

/// The exponent of [`ZERO_THRESHOLD`].
const POWER_MIN: i32 = -20;

/// Values above `2^12` count as that: an hour, when they are seconds.
const POWER_MAX: i32 = 12;

/// The first bucket above zero's.
const INDEX_MIN: i32 = POWER_MIN * PER_POWER + 1;

const BUCKETS: usize = ((POWER_MAX - POWER_MIN) * PER_POWER) as usize;

/// Parts in which threads count.
const SHARDS: usize = 16;

/// Upper bounds of a power's buckets, for values from 0.5 to 1.
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

/// What a histogram counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Recorded in nanoseconds, and told in seconds.
    Seconds,
    /// Recorded and told as they are.
    Pieces,
}

impl Unit {
    fn scale(self) -> f64 {
        match self {
            Self::Seconds => 1e-9,
            Self::Pieces => 1.0,
        }
    }
}

/// Counts of values by their size.
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
    /// An empty one.
    pub fn new(unit: Unit) -> Self {
        Self { unit, shards: std::array::from_fn(|_| OnceLock::new()) }
    }

    /// Counts a value.
    pub fn record(&self, value: u64) {
        let shard = self.shards[shard()].get_or_init(Box::default);
        let bucket = match place(value as f64 * self.unit.scale()) {
            None => &shard.zero,
            Some(place) => &shard.buckets[place],
        };
        bucket.fetch_add(1, Relaxed);
        shard.sum.fetch_add(value, Relaxed);
    }

    /// All that was counted so far.
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

/// The part of the calling thread.
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

/// The place of a value's bucket; `None` for zero's.
fn place(value: f64) -> Option<usize> {
    // Written so that NaN is zero too.
    if value.is_nan() || value <= ZERO_THRESHOLD {
        return None;
    }
    let index = index(value);
    usize::try_from(index - INDEX_MIN).ok().map(|place| place.min(BUCKETS - 1))
}

/// The number of a positive value's bucket in the schema: the bucket `i` reaches to `2^(i/8)`.
fn index(value: f64) -> i32 {
    const MANTISSA_BITS: u64 = 52;
    let bits = value.to_bits();
    // As a fraction of at least a half, times a power of two.
    let power = i32::try_from((bits >> MANTISSA_BITS) & 0x7ff).unwrap_or(0) - 1022;
    let fraction = f64::from_bits(bits & ((1 << MANTISSA_BITS) - 1) | 1022 << MANTISSA_BITS);
    let below: i32 = FRACTIONS.iter().map(|&bound| i32::from(bound < fraction)).sum();
    below + (power - 1) * PER_POWER
}

/// What a histogram had counted at some time.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    unit: Unit,
    zero: u64,
    buckets: Vec<u64>,
    sum: u64,
}

impl Snapshot {
    /// One that has counted nothing.
    pub fn empty(unit: Unit) -> Self {
        Self { unit, zero: 0, buckets: vec![0; BUCKETS], sum: 0 }
    }

    /// How many values.
    pub fn count(&self) -> u64 {
        self.zero + self.buckets.iter().sum::<u64>()
    }

    /// All values together, in seconds or pieces.
    pub fn sum(&self) -> f64 {
        self.sum as f64 * self.unit.scale()
    }

    /// Their mean, if there are any.
    pub fn mean(&self) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| self.sum() / count as f64)
    }

    /// What was counted since an earlier snapshot of the same histogram.
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

    /// Takes in what another has counted.
    pub fn add(&mut self, other: &Self) {
        self.zero += other.zero;
        self.sum += other.sum;
        for (sum, count) in self.buckets.iter_mut().zip(&other.buckets) {
            *sum += count;
        }
    }

    /// The value that this part of all is not above, such as 0.99; within 9%.
    pub fn quantile(&self, part: f64) -> Option<f64> {
        let count = self.count();
        let rank = (part.clamp(0.0, 1.0) * count as f64).ceil().max(1.0) as u64;
        let mut seen = self.zero;
        if count == 0 {
            return None;
        }
        if seen >= rank {
            return Some(0.0);
        }
        for (index, bucket) in self.native() {
            if seen + bucket >= rank {
                // Spread evenly inside the bucket, on the scale of powers.
                let share = (rank - seen) as f64 / bucket as f64;
                let eighths = f64::from(index) - 1.0 + share;
                return Some((eighths / f64::from(PER_POWER)).exp2());
            }
            seen += bucket;
        }
        None
    }

    /// Values in zero's bucket.
    pub fn zero(&self) -> u64 {
        self.zero
    }

    /// The other buckets that are not empty: their numbers in the schema, growing, and counts.
    pub fn native(&self) -> impl Iterator<Item = (i32, u64)> {
        (INDEX_MIN..).zip(self.buckets.iter().copied()).filter(|(_, count)| *count > 0)
    }

    /// How many values are at most `2^power`.
    pub fn at_most(&self, power: i32) -> u64 {
        let Ok(buckets) = usize::try_from((power - POWER_MIN) * PER_POWER) else { return 0 };
        self.zero + self.buckets.iter().take(buckets).sum::<u64>()
    }
}
