//! Tests that run times are learned, and stay within bounds.

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
    run_time.points[2] =
        Some(Point { rows: 4.0, run_us: 40.0, deviation_us: 4.0, age: 0, idle_runs: 0 });
    run_time.points[3] =
        Some(Point { rows: 8.0, run_us: 60.0, deviation_us: 8.0, age: 0, idle_runs: 0 });
    let middle = run_time.estimate(6).unwrap();
    assert_eq!(middle, Estimate { run_us: 50.0, deviation_us: 6.0 });
    assert!(close(run_time.predict_us(16), 120.0));
}

/// Evenly from 0 to 1, the same each time.
fn units() -> impl Iterator<Item = f64> {
    let mut state = 1_u64;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 40) as f64 / (1 << 24) as f64
    })
}

#[test]
fn curve_and_pace_do_not_drift_apart_however_many_runs_there_are() {
    let mut run_time = RunTime::default();
    for (run, unit) in units().take(400_000).enumerate() {
        let rows = 1 << (run % 5);
        // Larger batches take no longer, which is not plausible, and times vary fourfold.
        run_time.observe(rows, 10.0 * 4.0_f64.powf(unit));
        let predicted = run_time.predict_us(rows).unwrap();
        assert!((5.0..80.0).contains(&predicted), "run {run}: {predicted} us");
        assert!((0.05..20.0).contains(&run_time.pace), "run {run}: {}", run_time.pace);
    }
}

#[test]
fn idle_sizes_keep_their_run_times_while_skewed_runs_of_others_go_on() {
    let mut run_time = RunTime::default();
    for rows in [1_usize, 2, 4, 8, 16, 32, 64] {
        (0..20).for_each(|_| run_time.observe(rows, 100.0 + 10.0 * rows as f64));
    }
    // One run in ten takes three times as long, so the middle of three is well below the mean.
    for (run, unit) in units().take(400_000).enumerate() {
        let hiccup = if run % 10 == 0 { 3.0 } else { 1.0 };
        run_time.observe(8, hiccup * 180.0 * (0.9 + 0.2 * unit));
    }
    for (rows, true_us) in [(1, 110.0), (2, 120.0), (64, 740.0)] {
        let estimate = run_time.estimate(rows).unwrap();
        let off = estimate.run_us / true_us;
        assert!((0.7..1.4).contains(&off), "{rows} rows: {estimate:?}");
        assert!(estimate.deviation_us < estimate.run_us, "{rows} rows: {estimate:?}");
    }
    assert!(run_time.efficient_rows(64) > 8);
}

#[test]
fn sizes_that_contradict_each_other_do_not_drive_it_away() {
    let mut run_time = RunTime::default();
    run_time.observe(1, 50.0);
    // The larger requests are longer too, which sizes in rows do not tell.
    for _ in 0..200_000 {
        run_time.observe(4, 100.0);
        run_time.observe(64, 20_000.0);
    }
    let estimate = run_time.estimate(1).unwrap();
    assert!((5.0..500.0).contains(&estimate.run_us), "{estimate:?}");
    assert!(estimate.deviation_us < 500.0, "{estimate:?}");
    run_time.observe(1, 50.0);
    assert!(run_time.predict_us(1).is_some_and(f64::is_finite));
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
    assert!(run_time.points[0].unwrap().deviation_us > 1000.0, "it is in the spread");
}

#[test]
fn the_spread_is_learned() {
    let mut run_time = RunTime::default();
    for run in 0..400 {
        run_time.observe(8, if run % 2 == 0 { 80.0 } else { 120.0 });
    }
    let estimate = run_time.estimate(8).unwrap();
    assert!((90.0..110.0).contains(&estimate.run_us), "{estimate:?}");
    assert!((12.0..28.0).contains(&estimate.deviation_us), "{estimate:?}");
}

#[test]
fn a_size_that_did_not_run_for_long_is_learned_anew() {
    let mut run_time = RunTime::default();
    (0..20).for_each(|_| run_time.observe(1, 1_000.0));
    (0..20).for_each(|_| run_time.observe(64, 60_000.0));
    assert!(run_time.is_stale(8) && !run_time.is_stale(64));
    (0..STALE_RUNS).for_each(|_| run_time.observe(1, 1_000.0));
    assert!(run_time.is_stale(64) && !run_time.is_stale(1));
    run_time.observe(64, 20_000.0);
    assert!(run_time.predict_us(64).is_some_and(|us| us < 45_000.0));
    assert!(!run_time.is_stale(64));
}

/// Ten microseconds and one for each row.
fn line() -> RunTime {
    let mut run_time = RunTime::default();
    for power in 0..9 {
        let rows = 1 << power;
        run_time.points[power] = Some(Point {
            rows: rows as f64,
            run_us: 10.0 + rows as f64,
            deviation_us: 0.0,
            age: 0,
            idle_runs: 0,
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
    flat.points[1] =
        Some(Point { rows: 2.0, run_us: 200.0, deviation_us: 0.0, age: 0, idle_runs: 0 });
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
        prop_assert!(estimate.deviation_us.is_finite() && estimate.deviation_us >= 0.0);
        prop_assert!((1..=64).contains(&run_time.efficient_rows(64)));
        prop_assert!(run_time.rows_within(1e3, 2.0, 64) <= 64);
    }
}
