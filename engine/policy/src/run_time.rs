//! An online model of how long a batch runs, by its number of rows, with its spread.
//!
//! What belongs to the model (a curve over sizes) and what belongs to the machine at this moment
//! (its pace) are learned apart: when a neighbour takes half of the cores, one run of any size
//! tells it for all sizes.

/// Sizes up to 2^15 rows have a bucket of their own power of two; larger ones share the last.
const BUCKETS: usize = 16;

/// Weight of a new observation in the curve and in the spread.
const CURVE_WEIGHT: f64 = 0.05;

/// Weight of the last surprises in the pace, in its logarithm. It is much larger than the curve's,
/// so that what changes for all sizes at once is learned as the pace.
const PACE_WEIGHT: f64 = 0.3;

/// A run changes the pace as if it had been at most so many times slower or faster than foreseen.
const SURPRISE_MAX: f64 = 4.0;

/// Farthest that the pace may be from 1. Curve and pace are only known by their product, so that
/// they would drift apart over millions of runs, to zero and infinity.
const PACE_MAX: f64 = 16.0;

/// After so many runs of smaller sizes, what is known of a size is old.
const OLD_RUNS: u32 = 32;

/// Weight of an observation that ends the age of an old size.
const OLD_WEIGHT: f64 = 0.5;

/// Rows that run together take at most so many times as long as apart.
const TOGETHER_MAX: f64 = 1.5;

/// Spread of a size that was seen once, as a part of its run time.
const FIRST_SPREAD: f64 = 0.1;

/// What was seen of the sizes of one bucket: exponentially weighted means, at pace 1.
#[derive(Clone, Copy, Debug)]
struct Point {
    rows: f64,
    run_us: f64,
    /// Mean distance of a run from what was foreseen.
    spread_us: f64,
    /// Runs of smaller sizes since the last of this.
    age: u32,
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
    pub spread_us: f64,
}

impl Estimate {
    /// The mean and so many times the spread.
    pub fn upper_us(&self, spreads: f64) -> f64 {
        self.run_us + spreads * self.spread_us
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
            spread_us: at_pace_1 * FIRST_SPREAD,
            age: 0,
        };
        let point = self.points[bucket].get_or_insert(first);
        let weight = if point.age >= OLD_RUNS { OLD_WEIGHT } else { CURVE_WEIGHT };
        let distance = (at_pace_1 - point.run_us).abs();
        point.spread_us += CURVE_WEIGHT * (distance - point.spread_us);
        point.rows += weight * (first.rows - point.rows);
        point.run_us += weight * (at_pace_1 - point.run_us);
        point.age = 0;
        self.bound_larger(bucket);
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
            point.spread_us *= self.pace;
        }
        self.pace = 1.0;
    }

    /// Keeps larger sizes within what a smaller one allows, and lets what is known of them age.
    fn bound_larger(&mut self, bucket: usize) {
        let Some(seen) = self.points[bucket] else { return };
        for point in self.points[bucket + 1..].iter_mut().flatten() {
            point.age = point.age.saturating_add(1);
            let apart_us = seen.run_us * point.rows / seen.rows;
            point.run_us =
                point.run_us.clamp(seen.run_us, TOGETHER_MAX * apart_us.max(seen.run_us));
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
        let (run_us, spread_us) = match (below, above) {
            (Some(below), Some(above)) => {
                let part = (rows - below.rows) / (above.rows - below.rows);
                let between = |from: f64, to: f64| from + part * (to - from);
                (between(below.run_us, above.run_us), between(below.spread_us, above.spread_us))
            }
            (Some(largest), None) => {
                let times = rows / largest.rows;
                (largest.run_us * times, largest.spread_us * times)
            }
            (None, smallest) => smallest.map(|point| (point.run_us, point.spread_us))?,
        };
        Some(Estimate { run_us: run_us * self.pace, spread_us: spread_us * self.pace })
    }

    /// The largest batch of at most `rows_max` rows that should be over within `limit_us`, its
    /// mean and so many spreads; 0 when not even one row should. Before the first observation it
    /// is `rows_max`.
    pub fn rows_within(&self, limit_us: f64, spreads: f64, rows_max: usize) -> usize {
        let fits =
            |rows: usize| self.estimate(rows).is_none_or(|e| e.upper_us(spreads) <= limit_us);
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(a: Option<f64>, b: f64) -> bool {
        a.is_some_and(|a| (a - b).abs() < 1e-6 * b)
    }

    #[test]
    fn knows_nothing_at_first() {
        let run_time = RunTime::default();
        assert_eq!(run_time.predict_us(1), None);
        assert_eq!(run_time.rows_within(0.0, 1.0, 7), 7);
    }

    #[test]
    fn lies_between_its_neighbours_and_grows_in_proportion_above_them() {
        let mut run_time = RunTime::default();
        run_time.observe(4, 40.0);
        assert!(close(run_time.predict_us(1), 40.0));
        assert!(close(run_time.predict_us(16), 160.0));
        let mut run_time = RunTime::default();
        run_time.points[2] = Some(Point { rows: 4.0, run_us: 40.0, spread_us: 4.0, age: 0 });
        run_time.points[3] = Some(Point { rows: 8.0, run_us: 60.0, spread_us: 8.0, age: 0 });
        let middle = run_time.estimate(6).unwrap();
        assert_eq!(middle, Estimate { run_us: 50.0, spread_us: 6.0 });
        assert!(close(run_time.predict_us(16), 120.0));
    }

    #[test]
    fn curve_and_pace_do_not_drift_apart_however_many_runs_there_are() {
        let mut run_time = RunTime::default();
        let mut state = 1_u64;
        for run in 0..400_000_u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let unit = (state >> 40) as f64 / (1 << 24) as f64;
            let rows = 1 << (run % 5);
            // Larger batches take no longer, which nobody believes, and times vary fourfold.
            run_time.observe(rows, 10.0 * 4.0_f64.powf(unit));
            let predicted = run_time.predict_us(rows).unwrap();
            assert!((5.0..80.0).contains(&predicted), "run {run}: {predicted} us");
            assert!((0.05..20.0).contains(&run_time.pace), "run {run}: {}", run_time.pace);
        }
    }

    #[test]
    fn one_size_tells_the_pace_of_the_machine_for_all() {
        let mut run_time = RunTime::default();
        for rows in [1, 4, 16, 64] {
            (0..20).for_each(|_| run_time.observe(rows, 100.0 + rows as f64));
        }
        (0..40).for_each(|_| run_time.observe(16, 5.0 * 116.0));
        let other = run_time.predict_us(64).unwrap();
        assert!(other > 2.0 * 164.0, "{other}");
        (0..60).for_each(|_| run_time.observe(16, 116.0));
        let other = run_time.predict_us(64).unwrap();
        assert!(other < 1.5 * 164.0, "{other}");
    }

    #[test]
    fn one_hiccup_is_no_trend() {
        let mut run_time = RunTime::default();
        (0..50).for_each(|_| run_time.observe(1, 100.0));
        run_time.observe(1, 1e6);
        assert_eq!(run_time.pace, 1.0);
        assert!(run_time.points[0].unwrap().spread_us > 1000.0, "it is in the spread");
    }

    #[test]
    fn the_spread_is_learned() {
        let mut run_time = RunTime::default();
        for run in 0..400 {
            run_time.observe(8, if run % 2 == 0 { 80.0 } else { 120.0 });
        }
        let estimate = run_time.estimate(8).unwrap();
        assert!((90.0..110.0).contains(&estimate.run_us), "{estimate:?}");
        assert!((12.0..28.0).contains(&estimate.spread_us), "{estimate:?}");
    }

    #[test]
    fn what_was_not_seen_for_long_is_learned_anew() {
        let mut run_time = RunTime::default();
        (0..20).for_each(|_| run_time.observe(1, 1_000.0));
        (0..20).for_each(|_| run_time.observe(64, 60_000.0));
        assert!(run_time.is_old(8) && !run_time.is_old(64));
        (0..OLD_RUNS).for_each(|_| run_time.observe(1, 1_000.0));
        assert!(run_time.is_old(64) && !run_time.is_old(1));
        run_time.observe(64, 20_000.0);
        assert!(run_time.predict_us(64).is_some_and(|us| us < 45_000.0));
        assert!(!run_time.is_old(64));
    }

    #[test]
    fn rows_that_run_together_take_no_longer_than_apart() {
        let mut run_time = RunTime::default();
        (0..20).for_each(|_| run_time.observe(8, 800_000.0));
        (0..20).for_each(|_| run_time.observe(1, 1_000.0));
        assert!(run_time.predict_us(8).is_some_and(|us| us < 13_000.0));
    }

    /// Ten microseconds and one for each row.
    fn line() -> RunTime {
        let mut run_time = RunTime::default();
        for power in 0..9 {
            let rows = 1 << power;
            run_time.points[power] = Some(Point {
                rows: rows as f64,
                run_us: 10.0 + rows as f64,
                spread_us: 0.0,
                age: 0,
            });
        }
        run_time
    }

    #[test]
    fn as_many_rows_as_fit_into_a_time() {
        assert_eq!(line().rows_within(74.5, 1.0, 256), 64);
        assert_eq!(line().rows_within(1e9, 1.0, 256), 256);
        assert_eq!(line().rows_within(10.0, 1.0, 256), 0);
    }

    #[test]
    fn the_efficient_size_is_where_larger_ones_bring_nothing() {
        // 256 rows make 0.962 of the possible, and 128 only 0.928.
        assert_eq!(line().efficient_rows(256), 256);
        assert_eq!(line().efficient_rows(100), 100);
        let mut flat = RunTime::default();
        flat.observe(1, 100.0);
        flat.points[1] = Some(Point { rows: 2.0, run_us: 200.0, spread_us: 0.0, age: 0 });
        assert_eq!(flat.efficient_rows(64), 1, "rows bring nothing together");
        assert_eq!(RunTime::default().efficient_rows(64), 64, "nothing is known");
    }

    proptest! {
        #[test]
        fn any_history_gives_finite_estimates(
            runs in prop::collection::vec((0..100_000_usize, 0.0..1e7_f64), 1..60),
            rows in 0..1_000_000_usize,
        ) {
            let mut run_time = RunTime::default();
            runs.iter().for_each(|&(rows, run_us)| run_time.observe(rows, run_us));
            let estimate = run_time.estimate(rows).unwrap();
            prop_assert!(estimate.run_us.is_finite() && estimate.run_us > 0.0);
            prop_assert!(estimate.spread_us.is_finite() && estimate.spread_us >= 0.0);
            prop_assert!((1..=64).contains(&run_time.efficient_rows(64)));
            prop_assert!(run_time.rows_within(1e3, 2.0, 64) <= 64);
        }
    }
}
