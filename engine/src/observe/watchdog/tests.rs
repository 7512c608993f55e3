//! Queues that move, that need not, and that hang.

use super::*;
use crate::config::ModelConfig;
use crate::executor::puppet::{Act, by_hand};
use crate::testing::{self, Threads, answer, request};

const STARTED: Duration = Duration::from_secs(100);

fn progress(waiting: usize, finished: u64) -> Progress {
    Progress { waiting, finished, is_lingering: false, is_idle: false, predicted_us: 0 }
}

/// Whether a queue counts as stalled after each look, one every `PERIOD`.
fn looks(seen: &[Progress]) -> Vec<bool> {
    let start = Instant::now();
    let mut watch = Watch::new(&progress(0, 0), start);
    let look = |(number, progress): (u32, &Progress)| {
        watch.look(progress, start + PERIOD * number);
        watch.is_stalled
    };
    (1..).zip(seen).map(look).collect()
}

#[test]
fn a_queue_that_does_not_move_is_seen_within_a_second() {
    let seen = looks(&[progress(3, 0); 5]);
    assert_eq!(seen, [false, false, false, true, true], "after {:?}", PERIOD * 4);
    assert!(PERIOD * 4 < Duration::from_secs(1));
}

#[test]
fn a_queue_that_moves_or_need_not_is_well() {
    let moves: Vec<_> = (0..20).map(|finished| progress(3, finished / 3)).collect();
    assert!(!looks(&moves).contains(&true));
    assert!(!looks(&[progress(0, 0); 20]).contains(&true), "nobody waits");
    let patient = Progress { is_lingering: true, is_idle: true, ..progress(3, 0) };
    assert!(!looks(&[patient; 20]).contains(&true), "its policy waits");
}

#[test]
fn a_run_that_is_known_to_be_long_has_its_time() {
    let long = Progress { predicted_us: 500_000, ..progress(1, 0) };
    let seen = looks(&[long; 15]);
    assert_eq!(seen.iter().position(|stalled| *stalled), Some(9), "after four runs");
}

#[test]
fn it_is_well_again_when_a_run_ends_and_not_when_everybody_leaves() {
    let mut seen = vec![progress(3, 0); 5];
    seen.extend([progress(0, 0), progress(0, 1)]);
    assert_eq!(looks(&seen)[4..], [true, true, false]);
    let idle = Progress { is_idle: true, ..progress(0, 0) };
    seen[5] = idle;
    assert_eq!(looks(&seen)[4..6], [true, false]);
}

#[test]
fn an_executor_that_hangs_stalls_its_model_until_it_goes_on() {
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
        watches.look(&models, start + after);
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
