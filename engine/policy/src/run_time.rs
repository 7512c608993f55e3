//! An online model of how long a batch runs, by its number of rows, with its spread.
//!
//! What belongs to the model (a curve over sizes) and what belongs to the machine at this moment
//! (its pace) are learned apart: when a neighbour takes half of the cores, one run of any size
//! tells it for all sizes.
//!
//! Of sizes that run, only the product of the two is known, and they drift apart: the pace follows
//! the middle of several runs, the curve their mean. So sizes that do not run move along with the
//! curve of those that do, and their product stays in proportion.

/// Sizes up to 2^15 rows have a bucket of their own power of two; larger ones share the last.
const BUCKETS: usize = 16;

/// Weight of a new observation in the curve and in the spread.
const CURVE_WEIGHT: f64 = 0.05;

/// Weight of the last surprises in the pace, in its logarithm. It is much larger than the curve's,
/// so that what changes for all sizes at once is learned as the pace.
const PACE_WEIGHT: f64 = 0.3;

/// A run changes the pace as if it had been at most so many times slower or faster than foreseen.
const SURPRISE_MAX: f64 = 4.0;

/// Farthest that the pace may be from 1, before it becomes part of the curve.
const PACE_MAX: f64 = 16.0;

/// After so many runs of smaller sizes, what is known of a size is old.
const OLD_RUNS: u32 = 32;

/// Weight of an observation that ends the age of an old size.
const OLD_WEIGHT: f64 = 0.5;

/// Rows that run together take at most so many times as long as apart.
const TOGETHER_MAX: f64 = 1.5;

/// Spread of a size that was seen once, as a part of its run time.
const FIRST_DEVIATION: f64 = 0.1;

/// What was seen of the sizes of one bucket: exponentially weighted means, at pace 1.
#[derive(Clone, Copy, Debug)]
struct Point {
    rows: f64,
    run_us: f64,
    /// Mean distance of a run from what was foreseen.
    deviation_us: f64,
    /// Runs of smaller sizes since the last of this.
    age: u32,
    /// Runs of any other size since then.
    rests: u32,
}

impl Point {
    fn is_at_rest(&self) -> bool {
        self.rests >= OLD_RUNS
    }

    /// Takes a time that was not seen; the spread of a size at rest stays in proportion.
    fn suppose(&mut self, run_us: f64) {
        if self.is_at_rest() {
            self.deviation_us *= run_us / self.run_us;
        }
        self.run_us = run_us;
    }
}

/// Run times by size: a curve through one point for each power of two of rows, times the pace.
#[derive(Clone, Debug)]
pub struct RunTime {
    points: [Option<Point>; BUCKETS],
    pace: f64,
    /// How much slower the last runs were than foreseen.
    surprises: [f64; 3],
}

impl Default for RunTime {
    fn default() -> Self {
        Self { points: [None; BUCKETS], pace: 1.0, surprises: [1.0; 3] }
    }
}

/// How long a batch should run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The mean.
    pub run_us: f64,
    /// Mean distance from it.
    pub deviation_us: f64,
}

impl Estimate {
    /// The mean and so many times the spread.
    pub fn upper_us(&self, sigmas: f64) -> f64 {
        self.run_us + sigmas * self.deviation_us
    }
}

impl RunTime {
    /// Takes in one run of `rows` rows.
    pub fn observe(&mut self, rows: usize, run_us: f64) {
        let run_us = run_us.max(0.01);
        let bucket = bucket(rows);
        // A size never seen says nothing of the pace: what was foreseen of it is a guess.
        if let (Some(_), Some(foreseen_us)) = (self.points[bucket], self.predict_us(rows)) {
            self.learn_pace(run_us / foreseen_us);
        }
        let at_pace_1 = run_us / self.pace;
        let first = Point {
            rows: rows.max(1) as f64,
            run_us: at_pace_1,
            deviation_us: at_pace_1 * FIRST_DEVIATION,
            age: 0,
            rests: 0,
        };
        let point = self.points[bucket].get_or_insert(first);
        let (before_us, was_at_rest) = (point.run_us, point.is_at_rest());
        let weight = if point.age >= OLD_RUNS { OLD_WEIGHT } else { CURVE_WEIGHT };
        let distance = (at_pace_1 - point.run_us).abs();
        point.deviation_us += CURVE_WEIGHT * (distance - point.deviation_us);
        point.rows += weight * (first.rows - point.rows);
        point.run_us += weight * (at_pace_1 - point.run_us);
        (point.age, point.rests) = (0, 0);
        let learned = point.run_us / before_us;
        if !was_at_rest {
            self.take_along(learned);
        }
        self.rest(bucket);
        self.bound_others(bucket);
    }

    /// Moves sizes at rest along with the mean of those that run, of which one has moved.
    fn take_along(&mut self, learned: f64) {
        let at_work = self.points.iter().flatten().filter(|point| !point.is_at_rest()).count();
        let share = learned.powf(1.0 / at_work.max(1) as f64);
        for point in self.points.iter_mut().flatten().filter(|point| point.is_at_rest()) {
            point.suppose(point.run_us * share);
        }
    }

    /// Lets what is known of all other sizes age.
    fn rest(&mut self, bucket: usize) {
        for (place, point) in self.points.iter_mut().enumerate() {
            let Some(point) = point.as_mut().filter(|_| place != bucket) else { continue };
            point.rests = point.rests.saturating_add(1);
            if place > bucket {
                point.age = point.age.saturating_add(1);
            }
        }
    }

    /// The pace follows the middle one of the last three surprises: a single hiccup is no trend.
    fn learn_pace(&mut self, surprise: f64) {
        self.surprises.rotate_left(1);
        self.surprises[2] = surprise.clamp(1.0 / SURPRISE_MAX, SURPRISE_MAX);
        let mut sorted = self.surprises;
        sorted.sort_by(f64::total_cmp);
        self.pace *= sorted[1].powf(PACE_WEIGHT);
        // What is true of the pace now is not to be learned twice.
        let learned = sorted[1].powf(-PACE_WEIGHT);
        self.surprises.iter_mut().for_each(|surprise| *surprise *= learned);
        if !(1.0 / PACE_MAX..=PACE_MAX).contains(&self.pace) {
            self.begin_at_pace_1();
        }
    }

    /// Makes the pace of this moment part of the curve. All run times stay what they are.
    fn begin_at_pace_1(&mut self) {
        for point in self.points.iter_mut().flatten() {
            point.run_us *= self.pace;
            point.deviation_us *= self.pace;
        }
        self.pace = 1.0;
    }

    /// Keeps other sizes within what the one seen allows: smaller ones at rest take no longer, larger
    /// ones no less, and not much longer than apart.
    fn bound_others(&mut self, bucket: usize) {
        let Some(seen) = self.points[bucket] else { return };
        let (smaller, larger) = self.points.split_at_mut(bucket);
        for point in smaller.iter_mut().flatten().filter(|point| point.is_at_rest()) {
            point.suppose(point.run_us.min(seen.run_us));
        }
        for point in larger.iter_mut().skip(1).flatten() {
            let apart_us = seen.run_us * point.rows / seen.rows;
            let most_us = TOGETHER_MAX * apart_us.max(seen.run_us);
            point.suppose(point.run_us.max(seen.run_us).min(most_us));
        }
    }

    /// Whether nobody has seen batches of about so many rows for long, or ever.
    pub fn is_old(&self, rows: usize) -> bool {
        self.points[bucket(rows)].is_none_or(|point| point.age >= OLD_RUNS)
    }

    /// How long a batch of `rows` should run on average; `None` before the first observation.
    pub fn predict_us(&self, rows: usize) -> Option<f64> {
        self.estimate(rows).map(|estimate| estimate.run_us)
    }

    /// How long a batch of `rows` should run; `None` before the first observation.
    ///
    /// Between two known sizes it lies on the line between them. Above the largest it grows in
    /// proportion, never less than the truth for a model with a fixed cost; below the smallest
    /// it stays the same, for the same reason.
    pub fn estimate(&self, rows: usize) -> Option<Estimate> {
        let rows = rows.max(1) as f64;
        let (mut below, mut above): (Option<&Point>, Option<&Point>) = (None, None);
        for point in self.points.iter().flatten() {
            if point.rows > rows {
                above = Some(point);
                break;
            }
            below = Some(point);
        }
        let (run_us, deviation_us) = match (below, above) {
            (Some(below), Some(above)) => {
                let part = (rows - below.rows) / (above.rows - below.rows);
                let between = |from: f64, to: f64| from + part * (to - from);
                (
                    between(below.run_us, above.run_us),
                    between(below.deviation_us, above.deviation_us),
                )
            }
            (Some(largest), None) => {
                let times = rows / largest.rows;
                (largest.run_us * times, largest.deviation_us * times)
            }
            (None, smallest) => smallest.map(|point| (point.run_us, point.deviation_us))?,
        };
        Some(Estimate { run_us: run_us * self.pace, deviation_us: deviation_us * self.pace })
    }

    /// The largest batch of at most `rows_max` rows that should be over within `limit_us`, its
    /// mean and so many sigmas; 0 when not even one row should. Before the first observation it
    /// is `rows_max`.
    pub fn rows_within(&self, limit_us: f64, sigmas: f64, rows_max: usize) -> usize {
        let fits = |rows: usize| self.estimate(rows).is_none_or(|e| e.upper_us(sigmas) <= limit_us);
        if fits(rows_max) {
            return rows_max;
        }
        let (mut low, mut high) = (0, rows_max);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if fits(middle) { low = middle } else { high = middle }
        }
        low
    }

    /// The smallest batch of at most `rows_max` rows that makes nearly as many rows a second as
    /// any of them: larger ones only make their members wait.
    pub fn efficient_rows(&self, rows_max: usize) -> usize {
        /// Part of the best rate that is good enough.
        const NEARLY: f64 = 0.98;
        let rate = |rows: usize| self.predict_us(rows).map_or(rows as f64, |us| rows as f64 / us);
        let sizes = || (0..BUCKETS).map(|power| 1 << power).filter(|&rows| rows < rows_max);
        let all = || sizes().chain([rows_max.max(1)]);
        let best = all().map(rate).fold(0.0, f64::max);
        all().find(|&rows| rate(rows) >= NEARLY * best).unwrap_or(rows_max)
    }
}

/// The power of two that rounds `rows` up.
fn bucket(rows: usize) -> usize {
    let capped = rows.clamp(1, 1 << (BUCKETS - 1));
    capped.next_power_of_two().trailing_zeros() as usize
}

#[cfg(test)]
mod tests;
