//! Choice of a replica for the next batch.

/// Returns the replica whose batch is predicted to finish first; the first of several alike.
///
/// Each candidate is a replica that can take a batch, and when it would finish the next one, in
/// microseconds from now or on one common clock.
pub fn least_finish<R>(candidates: impl IntoIterator<Item = (R, f64)>) -> Option<R> {
    let first = candidates.into_iter().min_by(|(_, a_us), (_, b_us)| a_us.total_cmp(b_us));
    first.map(|(replica, _)| replica)
}

#[cfg(test)]
mod tests {
    use super::least_finish;

    #[test]
    fn the_replica_that_finishes_first_is_chosen() {
        assert_eq!(least_finish([('a', 900.0), ('b', 400.0), ('c', 700.0)]), Some('b'));
        assert_eq!(least_finish([('a', 400.0), ('b', 400.0)]), Some('a'));
        assert_eq!(least_finish([] as [(u32, f64); 0]), None);
    }

    #[test]
    fn an_unknown_time_is_chosen_last() {
        assert_eq!(least_finish([('a', f64::NAN), ('b', 1e12)]), Some('b'));
        assert_eq!(least_finish([('a', f64::INFINITY)]), Some('a'));
    }
}
