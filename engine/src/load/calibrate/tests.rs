//! Tests which batch sizes are measured, and the decisions that follow from their times.

use super::*;
use crate::executor::puppet::puppet;
use crate::request::Outputs;
use crate::testing::signature;
use std::sync::{Arc, Mutex};

const LONG: Duration = Duration::from_secs(1000);

/// An executor that fails above `rows_max` rows, and the rows of its runs.
fn up_to(rows_max: usize) -> (Box<dyn Executor>, Arc<Mutex<Vec<usize>>>) {
    let runs = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&runs);
    let executor = puppet(move |inputs| {
        let rows = inputs[0].shape[0];
        seen.lock().unwrap().push(rows);
        match rows <= rows_max {
            true => Ok(Outputs::new()),
            false => Err(ExecuteError::Request("too many".into())),
        }
    });
    (executor, runs)
}

fn sizes(tried: &[(usize, f64)]) -> Vec<usize> {
    tried.iter().map(|(rows, _)| *rows).collect()
}

#[test]
fn a_sweep_measures_every_size_up_to_the_largest() {
    let (mut executor, runs) = up_to(usize::MAX);
    let mut calibration = Calibration::new(&mut *executor, &signature(), RunClock::CallerCpu);
    let tried = calibration.sweep(20, LONG, &[]);
    assert_eq!(sizes(&tried), [1, 2, 4, 8, 16, 20]);
    assert_eq!(sizes(&calibration.sweep(0, LONG, &[])), [1]);
    runs.lock().unwrap().clear();
    calibration.rerun(&tried, LONG);
    let mut repeated = std::mem::take(&mut *runs.lock().unwrap());
    repeated.dedup();
    assert_eq!(repeated, [1, 2, 4, 8, 16, 20]);
    // Of long runs only the largest is made again, and none that is very long.
    let mut rerun = |times: &[(usize, f64)]| {
        Calibration::new(&mut *executor, &signature(), RunClock::CallerCpu).rerun(times, LONG);
        std::mem::take(&mut *runs.lock().unwrap())
    };
    assert_eq!(rerun(&[(1, 10.0), (2, 20_000.0), (4, 40_000.0)]), [1, 1, 4]);
    assert!(rerun(&[(1, 2e6), (2, 3e6)]).is_empty());
}

#[test]
fn a_sweep_stops_at_the_first_size_that_is_too_long_or_fails() {
    let (mut executor, _) = up_to(2);
    let mut calibration = Calibration::new(&mut *executor, &signature(), RunClock::CallerCpu);
    assert_eq!(sizes(&calibration.sweep(20, LONG, &[])), [1, 2]);
    assert_eq!(sizes(&calibration.sweep(20, Duration::ZERO, &[])), [1]);
    assert!(calibration.measure(2).is_some());
    assert!(calibration.measure(3).is_none());
    let (mut failing, _) = up_to(0);
    assert!(
        Calibration::new(&mut *failing, &signature(), RunClock::Wall)
            .sweep(20, LONG, &[])
            .is_empty()
    );
}

#[test]
fn a_sweep_repeats_no_size_and_tries_none_that_is_surely_too_long() {
    let (mut executor, runs) = up_to(usize::MAX);
    let mut calibration = Calibration::new(&mut *executor, &signature(), RunClock::CallerCpu);
    let run_max = Duration::from_millis(50);
    let known = [(1, 5_000.0), (2, 9_000.0), (4, 18_000.0), (8, 36_000.0)];
    assert_eq!(calibration.sweep(64, run_max, &known), known);
    assert!(runs.lock().unwrap().is_empty());
    // Twice as many rows for little more time may still fit.
    let known = [(1, 30_000.0), (2, 36_000.0)];
    assert_eq!(sizes(&calibration.sweep(4, run_max, &known)), [1, 2, 4]);
    assert!(runs.lock().unwrap().iter().all(|rows| *rows == 4));
}

#[test]
fn inputs_that_are_too_large_are_not_measured() {
    let (mut executor, runs) = up_to(usize::MAX);
    let mut huge = signature();
    huge.inputs[0].dims.push(Some(1 << 50));
    assert!(
        Calibration::new(&mut *executor, &huge, RunClock::CallerCpu)
            .sweep(20, LONG, &[])
            .is_empty()
    );
    assert!(runs.lock().unwrap().is_empty());
}

#[test]
fn the_largest_batch_is_the_largest_that_is_not_too_long() {
    let largest = |tried: &[_]| largest_batch_within(tried, Duration::from_millis(1));
    assert_eq!(largest(&[]), BATCH_ROWS_MAX);
    assert_eq!(largest(&[(1, 10.0), (2, 1_000.0), (4, 1e6)]), 2);
    assert_eq!(largest(&[(1, 1e6)]), 1);
}

#[test]
fn a_run_may_take_half_of_the_objective_unless_the_batch_size_is_configured() {
    let configured = Batching { rows_max: 20, ..Batching::default() };
    let found = Batching { larger_requests_run_alone: true, ..configured.clone() };
    assert_eq!(run_max(&found, None), RUN_MAX);
    assert_eq!(run_max(&found, Some(20.0)), Duration::from_millis(10));
    assert_eq!(run_max(&found, Some(f64::INFINITY)), RUN_MAX);
    assert_eq!(run_max(&configured, Some(20.0)), CONFIGURED_RUN_MAX);
    assert_eq!(run_max(&configured, Some(4_000.0)), Duration::from_secs(2));
}

#[test]
fn executors_are_compared_in_turn_at_the_sizes_that_both_run() {
    let [(mut one, runs), (mut other, of_other)] = [up_to(4), up_to(4)];
    let signature = signature();
    let compare = |rows_max: usize, run_max: Duration, executors: [&mut dyn Executor; 2]| {
        let (signature, clock, rows) = (&signature, RunClock::Wall, &[1, 4]);
        let certainty = &|_: &_| Certainty::Open;
        Comparison { signature, rows_max, clock, rows, run_max, certainty }.run(executors)
    };
    let [times, of_others] = compare(20, LONG, [&mut *one, &mut *other]);
    assert_eq!((sizes(&times), sizes(&of_others)), (vec![1, 4], vec![1, 4]));
    assert_eq!(*runs.lock().unwrap(), *of_other.lock().unwrap());
    let [times, _] = compare(0, LONG, [&mut *one, &mut *other]);
    assert_eq!(sizes(&times), [1]);
    let [times, _] = compare(20, Duration::ZERO, [&mut *one, &mut *other]);
    assert_eq!(sizes(&times), [1]);
    let (mut failing, _) = up_to(0);
    let [times, of_failing] = compare(20, LONG, [&mut *one, &mut *failing]);
    assert_eq!((times.len(), of_failing.len()), (0, 0));
}

#[test]
fn a_comparison_ends_once_more_runs_change_nothing() {
    let [(mut one, runs), (mut other, _)] = [up_to(4), up_to(4)];
    let signature = signature();
    let mut count = |certainty: Certainty| {
        let (signature, clock, rows, certainty) =
            (&signature, RunClock::Wall, &[1, 4], &|_: &[BatchTimes; 2]| certainty);
        let comparison =
            Comparison { signature, rows_max: 20, clock, rows, run_max: LONG, certainty };
        comparison.run([&mut *one, &mut *other]);
        std::mem::take(&mut *runs.lock().unwrap())
    };
    assert_eq!(count(Certainty::Final), [1, 1]);
    assert_eq!(count(Certainty::OfSize), [1, 1, 4, 4]);
    assert!(count(Certainty::Open).len() > 4);
}
