//! Tests bucket bounds against the schema, and quantiles against exact ones.

use super::*;
use proptest::prelude::*;

fn of(values: &[u64], unit: Unit) -> Snapshot {
    let histogram = Histogram::new(unit);
    values.iter().for_each(|&value| histogram.record(value));
    histogram.snapshot()
}

#[test]
fn upper_bounds_are_inclusive() {
    // In the specification, bucket 0 ends at 1 inclusively.
    for (value, expected) in [(1.0, 0), (1.000_001, 1), (2.0, 8), (0.5, -8), (0.501, -7)] {
        assert_eq!(index(value), expected, "{value}");
    }
    for number in -150..=90_i32 {
        let bound = (f64::from(number) / f64::from(PER_POWER)).exp2();
        assert_eq!(index(bound * 0.999_999), number);
        assert_eq!(index(bound * 1.000_001), number + 1);
    }
}

#[test]
fn values_outside_of_the_range_are_counted() {
    let snapshot = of(&[0, 1, 953, u64::MAX / 2], Unit::Seconds);
    assert_eq!((snapshot.zero(), snapshot.count()), (3, 4));
    assert_eq!(snapshot.native().collect::<Vec<_>>(), [(POWER_MAX * PER_POWER, 1)]);
}

#[test]
fn counts_at_powers_of_two_are_exact() {
    let snapshot = of(&[1, 1, 2, 3, 4, 64], Unit::Count);
    let at_most = [0, 1, 2, 5, 6].map(|power| snapshot.at_most(power));
    assert_eq!(at_most, [2, 3, 5, 5, 6]);
    assert_eq!((snapshot.sum(), snapshot.mean()), (75.0, Some(12.5)));
}

#[test]
fn a_difference_has_the_values_in_between() {
    let histogram = Histogram::new(Unit::Seconds);
    histogram.record(1_000_000);
    let earlier = histogram.snapshot();
    histogram.record(3_000_000);
    let since = histogram.snapshot().since(&earlier);
    assert_eq!((since.count(), since.sum()), (1, 0.003));
    let mut all = earlier.clone();
    all.add(&since);
    assert_eq!(all, histogram.snapshot());
    assert_eq!(Snapshot::empty(Unit::Seconds).quantile(0.5), None);
}

#[test]
fn threads_lose_no_values() {
    let histogram = Histogram::new(Unit::Count);
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| (0..1000).for_each(|value| histogram.record(value)));
        }
    });
    assert_eq!(histogram.snapshot().count(), 20_000);
}

proptest! {
    /// A quantile is within a bucket's width of the true one.
    #[test]
    fn quantiles_are_accurate_to_a_bucket(
        mut values in prop::collection::vec(1_000_u64..10_000_000_000, 1..200),
        part in 0.0_f64..=1.0,
    ) {
        let snapshot = of(&values, Unit::Seconds);
        values.sort_unstable();
        let rank = (part * values.len() as f64).ceil().max(1.0) as usize;
        let truth = values[rank - 1] as f64 * 1e-9;
        let estimate = snapshot.quantile(part).unwrap();
        prop_assert!((truth / 1.091..truth * 1.091).contains(&estimate), "{estimate} for {truth}");
    }
}
