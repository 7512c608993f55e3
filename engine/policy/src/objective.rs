//! The objective that a model can keep.

/// Least number of runs of one row in an objective: one just missed, the request's own, and half of
/// one for everything else.
const RUNS_MIN: f64 = 2.5;

/// Returns the wanted objective, or the least one that a model can keep whose single row runs for
/// `row_us`. An objective that can never be kept would reject everything. All times have one unit.
pub fn reachable_us(wanted_us: f64, row_us: Option<f64>) -> f64 {
    row_us.map_or(wanted_us, |row_us| wanted_us.max(RUNS_MIN * row_us))
}

#[cfg(test)]
mod tests {
    use super::reachable_us;

    #[test]
    fn only_an_objective_that_cannot_be_met_is_changed() {
        assert_eq!(reachable_us(20_000.0, Some(3_000.0)), 20_000.0);
        assert_eq!(reachable_us(20_000.0, None), 20_000.0);
        assert_eq!(reachable_us(20_000.0, Some(40_000.0)), 100_000.0);
    }
}
