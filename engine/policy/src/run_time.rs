//! Online model of the run time of a batch by its number of rows, with its deviation.
//!
//! The curve over sizes, which belongs to the model, and the pace of the machine are learned apart.
//! When a neighbour takes half of the cores, one run of any size tells it for all sizes.
//!
//! Only the product of the two is observed, and they drift: the pace follows a median of runs, the
//! curve their mean. So sizes that do not run move along with the curve of those that do.

use crate::ablation::{Part, is_off};

/// Number of buckets: one for each power of two up to 2^15 rows. Larger sizes share the last.
const BUCKETS: usize = 16;

/// Weight of a new observation in the curve.
const CURVE_WEIGHT: f64 = 0.02;

/// Weight of a new observation in the mean deviation.
const DEVIATION_WEIGHT: f64 = 0.05;

/// Weight of the last runs in the logarithm of the pace. It is much larger than the curve's, so
/// that a change of all sizes is learned as the pace.
const PACE_WEIGHT: f64 = 0.3;

/// Largest factor by which one run counts as slower or faster than predicted.
const SURPRISE_MAX: f64 = 4.0;

/// Largest pace before it becomes part of the curve.
const PACE_MAX: f64 = 16.0;

/// Runs of smaller sizes after which the knowledge of a size is stale.
const STALE_RUNS: u32 = 32;

/// Weight of a surprising observation of a stale size.
const STALE_WEIGHT: f64 = 0.5;

/// Mean deviations by which such an observation differs at least. A larger weight for others would
/// only add noise, and a size that looks fast by chance would be chosen for it.
const STALE_SURPRISE_MIN: f64 = 3.0;

/// Mean deviations added to a predicted run time, where a promise depends on it.
pub const SIGMAS: f64 = 2.0;

/// Deviation of a size that was seen once, as a share of its run time.
const FIRST_DEVIATION: f64 = 0.1;

/// Observed sizes of one bucket, as exponentially weighted means at pace 1.
#[derive(Clone, Copy, Debug)]
struct Point {
    rows: f64,
    run_us: f64,
    /// Mean distance of a run from its prediction.
    deviation_us: f64,
    /// Runs of smaller sizes since the last of this.
    age: u32,
    /// Runs of any other size since then.
    idle_runs: u32,
}

impl Point {
    fn is_idle(&self) -> bool {
        self.idle_runs >= STALE_RUNS
    }

    /// Sets a run time that was not observed. The deviation of an idle size stays in proportion.
    fn assume(&mut self, run_us: f64) {
        if self.is_idle() {
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
    /// Ratios of the last runs to their predictions.
    surprises: [f64; 3],
}

impl Default for RunTime {
    fn default() -> Self {
        Self { points: [None; BUCKETS], pace: 1.0, surprises: [1.0; 3] }
    }
}

/// Predicted run time of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Mean run time.
    pub run_us: f64,
    /// Mean distance from the mean.
    pub deviation_us: f64,
}

impl Estimate {
    /// Returns the mean plus `sigmas` times the deviation.
    pub fn upper_us(&self, sigmas: f64) -> f64 {
        self.run_us + sigmas * self.deviation_us
    }
}

impl RunTime {
    /// Learns from one run of `rows` rows.
    pub fn observe(&mut self, rows: usize, run_us: f64) {
        let run_us = run_us.max(0.01);
        let bucket = bucket(rows);
        // A size never seen says nothing of the pace: its prediction was a guess.
        if let (Some(_), Some(foreseen_us)) = (self.points[bucket], self.predict_us(rows)) {
            self.learn_pace(run_us / foreseen_us);
        }
        let at_pace_1 = run_us / self.pace;
        let first = Point {
            rows: rows.max(1) as f64,
            run_us: at_pace_1,
            deviation_us: at_pace_1 * FIRST_DEVIATION,
            age: 0,
            idle_runs: 0,
        };
        let point = self.points[bucket].get_or_insert(first);
        let (before_us, was_idle) = (point.run_us, point.is_idle());
        let distance = (at_pace_1 - point.run_us).abs();
        let is_surprise = distance >= STALE_SURPRISE_MIN * point.deviation_us;
        let weight =
            if point.age >= STALE_RUNS && is_surprise { STALE_WEIGHT } else { CURVE_WEIGHT };
        point.deviation_us += DEVIATION_WEIGHT * (distance - point.deviation_us);
        point.rows += weight * (first.rows - point.rows);
        point.run_us += weight * (at_pace_1 - point.run_us);
        (point.age, point.idle_runs) = (0, 0);
        let learned = point.run_us / before_us;
        if !was_idle && !is_off(Part::Drift) {
            self.scale_idle_sizes(learned);
        }
        self.age_others(bucket);
    }

    /// Moves idle sizes along with the mean of those that run, of which one has moved.
    fn scale_idle_sizes(&mut self, learned: f64) {
        let at_work = self.points.iter().flatten().filter(|point| !point.is_idle()).count();
        let share = learned.powf(1.0 / at_work.max(1) as f64);
        for point in self.points.iter_mut().flatten().filter(|point| point.is_idle()) {
            point.assume(point.run_us * share);
        }
    }

    /// Ages the knowledge of all other sizes.
    fn age_others(&mut self, bucket: usize) {
        for (place, point) in self.points.iter_mut().enumerate() {
            let Some(point) = point.as_mut().filter(|_| place != bucket) else { continue };
            point.idle_runs = point.idle_runs.saturating_add(1);
            if place > bucket {
                point.age = point.age.saturating_add(1);
            }
        }
    }

    /// Moves the pace towards the median of the last three ratios: a single slow run is no trend.
    fn learn_pace(&mut self, surprise: f64) {
        self.surprises.rotate_left(1);
        self.surprises[2] = surprise.clamp(1.0 / SURPRISE_MAX, SURPRISE_MAX);
        let mut sorted = self.surprises;
        sorted.sort_by(f64::total_cmp);
        if is_off(Part::Pace) {
            return;
        }
        self.pace *= sorted[1].powf(PACE_WEIGHT);
        // The change of the pace must not be learned twice.
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

    /// Returns true if a batch of about this size has not run for long, or never.
    pub fn is_stale(&self, rows: usize) -> bool {
        self.points[bucket(rows)].is_none_or(|point| point.age >= STALE_RUNS)
    }

    /// Predicts the mean run time of a batch; `None` before the first observation.
    pub fn predict_us(&self, rows: usize) -> Option<f64> {
        self.estimate(rows).map(|estimate| estimate.run_us)
    }

    /// Predicts the run time of a batch; `None` before the first observation.
    ///
    /// Between two known sizes it is interpolated. Above the largest it grows in proportion, and
    /// below the smallest it stays the same. For a model with a fixed cost neither is too little.
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

    /// Returns the largest batch of at most `rows_max` rows whose mean plus `sigmas` deviations is
    /// within `limit_us`; 0 if not even one row is. Before the first observation it is `rows_max`.
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

    /// Returns the smallest batch of at most `rows_max` rows with nearly the best rate. Larger ones
    /// only make their members wait.
    pub fn efficient_rows(&self, rows_max: usize) -> usize {
        /// Share of the best rate that is good enough.
        const NEARLY: f64 = 0.98;
        let rate = |rows: usize| self.predict_us(rows).map_or(rows as f64, |us| rows as f64 / us);
        let sizes = || (0..BUCKETS).map(|power| 1 << power).filter(|&rows| rows < rows_max);
        let all = || sizes().chain([rows_max.max(1)]);
        let best = all().map(rate).fold(0.0, f64::max);
        all().find(|&rows| rate(rows) >= NEARLY * best).unwrap_or(rows_max)
    }
}

/// Exponent of the power of two that rounds `rows` up.
fn bucket(rows: usize) -> usize {
    let capped = rows.clamp(1, 1 << (BUCKETS - 1));
    capped.next_power_of_two().trailing_zeros() as usize
}

#[cfg(test)]
mod tests;
