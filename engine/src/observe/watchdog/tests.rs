//! Tests queues with progress, without a need for it, and that hang.

use super::*;
use crate::config::ModelConfig;
use crate::executor::puppet::{Act, by_hand};
use crate::testing::{self, Threads, answer, request};

const STARTED: Duration = Duration::from_secs(100);

fn progress(waiting: usize, finished: u64) -> Progress {
    Progress { waiting, finished, is_lingering: false, is_idle: false, predicted_us: 0 }
}

/// Returns for each check, one every `PERIOD`, if the queue counts as stalled.
fn checks(seen: &[Progress]) -> Vec<bool> {
    let start = Instant::now();
    let mut watch = Watch::new(&progress(0, 0), start);
    let look = |(number, progress): (u32, &Progress)| {
        watch.check(progress, start + PERIOD * number);
        watch.is_stalled
    };
    (1..).zip(seen).map(look).collect()
}

#[test]
fn a_stalled_queue_is_noticed_within_a_second() {
    let seen = checks(&[progress(3, 0); 5]);
    assert_eq!(seen, [false, false, false, true, true], "after {:?}", PERIOD * 4);
    assert!(PERIOD * 4 < Duration::from_secs(1));
}

#[test]
fn a_queue_with_progress_or_without_need_is_not_stalled() {
    let moves: Vec<_> = (0..20).map(|finished| progress(3, finished / 3)).collect();
    assert!(!checks(&moves).contains(&true));
    assert!(!checks(&[progress(0, 0); 20]).contains(&true), "no request waits");
    let patient = Progress { is_lingering: true, is_idle: true, ..progress(3, 0) };
    assert!(!checks(&[patient; 20]).contains(&true), "its policy waits");
}

#[test]
fn a_run_that_is_predicted_to_be_long_is_not_stalled() {
    let long = Progress { predicted_us: 500_000, ..progress(1, 0) };
    let seen = checks(&[long; 15]);
    assert_eq!(seen.iter().position(|stalled| *stalled), Some(9), "after four runs");
}

#[test]
fn a_stall_ends_with_a_run_and_not_when_callers_leave() {
    let mut seen = vec![progress(3, 0); 5];
    seen.extend([progress(0, 0), progress(0, 1)]);
    assert_eq!(checks(&seen)[4..], [true, true, false]);
    let idle = Progress { is_idle: true, ..progress(0, 0) };
    seen[5] = idle;
    assert_eq!(checks(&seen)[4..6], [true, false]);
}

#[test]
fn a_hanging_executor_stalls_its_model_until_it_continues() {
    let (executor, hand) = by_hand(Duration::ZERO);
    let endpoint = testing::endpoint(testing::batches(1), vec![executor], ModelConfig::default());
    let threads = Threads::start(&endpoint);
    let first = endpoint.submit(request(&[1.0])).unwrap();
    endpoint.model().queue().wake_thread();
    hand.next_batch();
    let second = endpoint.submit(request(&[2.0])).unwrap();
    let (models, start) = ([Arc::clone(&endpoint)], Instant::now());
    let mut watches = Watches::default();
    let mut look = |after| {
        watches.check(&models, start + after);
        endpoint.is_stalled()
    };
    assert!(!look(Duration::ZERO));
    assert!(!look(PERIOD));
    assert!(look(PERIOD * 4));
    hand.let_go(Act::Echo);
    hand.next_batch();
    assert!(!look(PERIOD * 5), "a run has ended");
    hand.let_go(Act::Echo);
    assert_eq!((answer(first).unwrap(), answer(second).unwrap()), (vec![1.0], vec![2.0]));
    assert!(!look(STARTED));
    drop(threads);
}
