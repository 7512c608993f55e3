//! An online estimate of how long a batch runs, by its number of rows.

/// Sizes up to 2^15 rows have a bucket of their own power of two; larger ones share the last.
const BUCKETS: usize = 16;

/// Weight of a new observation.
const ALPHA: f64 = 0.2;

/// What was seen of the sizes of one bucket: exponentially weighted means.
#[derive(Clone, Copy, Debug)]
struct Point {
    rows: f64,
    run_us: f64,
}

/// Run times by size: a curve through one point for each power of two of rows.
#[derive(Clone, Debug, Default)]
pub struct RunTime {
    points: [Option<Point>; BUCKETS],
}

impl RunTime {
    /// Takes in one run of `rows` rows.
    pub fn observe(&mut self, rows: usize, run_us: f64) {
        let rows_seen = rows.max(1) as f64;
        let seen = Point { rows: rows_seen, run_us };
        let point = self.points[bucket(rows)].get_or_insert(seen);
        point.rows += ALPHA * (seen.rows - point.rows);
        point.run_us += ALPHA * (seen.run_us - point.run_us);
    }

    /// How long a batch of `rows` should run; `None` before the first observation.
    ///
    /// Between two known sizes it lies on the line between them. Above the largest it grows in
    /// proportion, never less than the truth for a model with a fixed cost; below the smallest
    /// it stays the same, for the same reason.
    pub fn predict_us(&self, rows: usize) -> Option<f64> {
        let rows = rows.max(1) as f64;
        let known = || self.points.iter().flatten();
        let below = known().rfind(|point| point.rows <= rows);
        let above = known().find(|point| point.rows > rows);
        match (below, above) {
            (Some(below), Some(above)) => {
                let part = (rows - below.rows) / (above.rows - below.rows);
                Some(below.run_us + part * (above.run_us - below.run_us))
            }
            (Some(largest), None) => Some(largest.run_us * rows / largest.rows),
            (None, smallest) => smallest.map(|point| point.run_us),
        }
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

    #[test]
    fn knows_nothing_at_first() {
        assert_eq!(RunTime::default().predict_us(1), None);
    }

    #[test]
    fn lies_between_its_neighbours_and_grows_in_proportion_above_them() {
        let mut run_time = RunTime::default();
        run_time.observe(4, 40.0);
        assert_eq!(run_time.predict_us(1), Some(40.0));
        assert_eq!(run_time.predict_us(16), Some(160.0));
        run_time.observe(8, 60.0);
        assert_eq!(run_time.predict_us(6), Some(50.0));
        assert_eq!(run_time.predict_us(16), Some(120.0));
    }

    #[test]
    fn follows_a_machine_that_slows_down() {
        let mut run_time = RunTime::default();
        run_time.observe(1, 10.0);
        (0..50).for_each(|_| run_time.observe(1, 100.0));
        assert!(run_time.predict_us(1).is_some_and(|us| us > 99.0));
    }

    #[test]
    fn any_number_of_rows_has_an_estimate() {
        let mut run_time = RunTime::default();
        run_time.observe(0, 1.0);
        assert!(run_time.predict_us(usize::MAX).is_some_and(f64::is_finite));
        run_time.observe(usize::MAX, 1.0);
        assert!(run_time.predict_us(7).is_some_and(f64::is_finite));
    }
}
