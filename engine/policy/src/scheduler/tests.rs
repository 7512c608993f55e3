//! Tests which requests start, are rejected or expire, and on which replica they run.

use super::*;
use crate::batch::fixed::Fixed;
use crate::batch::predictive::Predictive;
use crate::batch::{BatchPolicy, Limits};
use crate::priority::Priority;
use crate::replica_set::{ReplicaState, Traits};

type Queue = Scheduler<u32, ()>;

fn demand(queued_us: u64, deadline_us: Option<u64>) -> Demand {
    Demand { rows: 1, queued_us, deadline_us, start_by: None, priority: Priority::default() }
}

fn queue(
    make_policy: impl Fn() -> Box<dyn BatchPolicy> + Send + 'static,
    replicas: usize,
    requests_max: usize,
) -> Queue {
    let mut queue = Queue::new(Box::new(make_policy), requests_max);
    for _ in 0..replicas {
        queue.join(Traits::default(), true);
    }
    queue
}

/// Knows that a run takes a millisecond, whatever its size.
fn predictive(replicas: usize, requests_max: usize) -> Queue {
    let limits = Limits { rows_max: 4, objective_us: Some(10_000.0), replicas };
    let mut queue = queue(move || Box::new(Predictive::new(limits)), replicas, requests_max);
    for rows in [1, 2, 4] {
        (0..300).for_each(|_| queue.observe(ClassId::default(), rows, 1_000.0));
    }
    queue
}

fn push(queue: &mut Queue, item: u32, now_us: u64, deadline_us: u64) -> Result<(), Rejection> {
    queue.push(item, demand(now_us, Some(deadline_us)), (), now_us, |_| false)
}

fn start(queue: &mut Queue, now_us: u64) -> Option<(Vec<u32>, RunId)> {
    match queue.start(now_us, true, |_| false) {
        Start::Run(batch) => Some((batch.members.iter().map(|w| w.item).collect(), batch.run)),
        Start::Wait { .. } | Start::Nothing => None,
    }
}

fn removed(queue: &mut Queue) -> Vec<u32> {
    queue.take_removed().iter().map(|queued| queued.item).collect()
}

#[test]
fn an_idle_replica_takes_every_request_and_a_busy_one_only_those_it_can_serve() {
    let mut queue = predictive(1, 100);
    push(&mut queue, 0, 0, 10).unwrap();
    let (members, run) = start(&mut queue, 0).unwrap();
    assert_eq!(members, [0], "only a run shows how long it takes");
    // 600 us are left of this run, and the next takes 1,000.
    assert!(push(&mut queue, 1, 400, 1_700).is_err());
    push(&mut queue, 2, 400, 2_200).unwrap();
    queue.finish(run, RunEnd::Succeeded(RunSample { rows: 1, run_us: 990.0 }), 1_000);
    assert_eq!(start(&mut queue, 1_000).unwrap().0, [2]);
}

#[test]
fn a_refusal_says_when_to_come_again() {
    let mut queue = predictive(1, 100);
    push(&mut queue, 0, 0, 50_000).unwrap();
    let _running = start(&mut queue, 0).unwrap();
    (1..=40).for_each(|item| push(&mut queue, item, 0, 50_000).unwrap());
    let rejected = push(&mut queue, 99, 0, 5_000);
    // Ten batches, and what runs: those with later deadlines go after it, so it is not these.
    assert!(rejected.is_ok(), "{rejected:?}");
    let rejected = push(&mut queue, 99, 0, 1_500);
    let Err(Rejection::Overloaded { retry_in_us }) = rejected else { panic!("{rejected:?}") };
    assert!((400.0..1_000.0).contains(&retry_in_us), "{retry_in_us}");
}

#[test]
fn a_full_queue_rejects_until_a_request_is_cancelled() {
    let mut queue = predictive(1, 2);
    push(&mut queue, 0, 0, 50_000).unwrap();
    push(&mut queue, 1, 0, 50_000).unwrap();
    assert_eq!(push(&mut queue, 2, 0, 50_000), Err(Rejection::Full));
    queue.rejected = 0;
    queue.push(2, demand(0, None), (), 0, |&item| item == 0).unwrap();
    assert_eq!((removed(&mut queue), queue.len()), (vec![0], 2));
}

#[test]
fn late_and_cancelled_requests_are_not_batched() {
    let mut queue = predictive(1, 100);
    (0..4).for_each(|item| push(&mut queue, item, 0, 5_000 + u64::from(item)).unwrap());
    let Start::Run(batch) = queue.start(5_001, true, |&item| item == 2) else {
        panic!("a request waits")
    };
    assert_eq!(batch.members.iter().map(|w| w.item).collect::<Vec<_>>(), [3]);
    assert_eq!(removed(&mut queue), [0, 1, 2]);
}

#[test]
fn a_request_that_cannot_be_met_expires_before_it_runs_unless_it_is_the_last() {
    let mut queue = predictive(1, 100);
    push(&mut queue, 0, 0, 50_000).unwrap();
    let (_, run) = start(&mut queue, 0).unwrap();
    (1..=3).for_each(|item| push(&mut queue, item, 0, 3_000 * u64::from(item)).unwrap());
    // The run took much longer than foreseen.
    queue.finish(run, RunEnd::Failed, 5_500);
    assert_eq!(start(&mut queue, 5_500).unwrap().0, [3]);
    assert_eq!(removed(&mut queue), [1, 2]);
}

#[test]
fn a_wrong_model_of_run_times_mends_itself() {
    let mut queue = predictive(1, 1_000);
    (0..100).for_each(|_| queue.observe(ClassId::default(), 1, 1e6));
    let (mut now_us, mut answered) = (0, 0);
    for round in 0..400_u32 {
        // Five requests a round, of which an idle replica takes at least one.
        let admitted =
            (0..5).filter(|i| push(&mut queue, round * 5 + i, now_us, now_us + 10_000).is_ok());
        assert!(admitted.count() > 0);
        let (members, run) = start(&mut queue, now_us).unwrap();
        now_us += 1_000;
        queue.finish(
            run,
            RunEnd::Succeeded(RunSample { rows: members.len(), run_us: 1_000.0 }),
            now_us,
        );
        answered = members.len();
        removed(&mut queue);
    }
    assert_eq!(answered, 4, "full batches again");
}

#[test]
fn a_policy_that_waits_can_be_overruled() {
    let mut queue = queue(|| Box::new(Fixed::new(8, 1_000, &[])), 1, 10);
    queue.push(7, demand(0, None), (), 0, |_| false).unwrap();
    assert!(matches!(queue.start(0, true, |_| false), Start::Wait { until_us: 1_000 }));
    assert!(matches!(queue.start(0, false, |_| false), Start::Run(_)));
}

#[test]
fn a_wait_ends_when_a_deadline_passes() {
    let mut queue = queue(|| Box::new(Fixed::new(8, 1_000, &[])), 1, 10);
    queue.push(7, demand(0, Some(400)), (), 0, |_| false).unwrap();
    assert!(matches!(queue.start(0, true, |_| false), Start::Wait { until_us: 401 }));
    assert!(matches!(queue.start(401, true, |_| false), Start::Nothing));
    assert_eq!(removed(&mut queue), [7]);
}

#[test]
fn a_wait_does_not_begin_anew_for_a_more_urgent_request() {
    let mut queue = queue(|| Box::new(Fixed::new(8, 1_000, &[])), 1, 10);
    push(&mut queue, 1, 0, 90_000).unwrap();
    assert!(matches!(queue.start(0, true, |_| false), Start::Wait { until_us: 1_000 }));
    push(&mut queue, 2, 900, 80_000).unwrap();
    assert!(matches!(queue.start(900, true, |_| false), Start::Wait { until_us: 1_000 }));
    let (members, run) = start(&mut queue, 1_000).unwrap();
    assert_eq!(members, [2, 1]);
    queue.finish(run, RunEnd::Failed, 5_000);
    push(&mut queue, 3, 5_000, 90_000).unwrap();
    assert!(matches!(queue.start(5_000, true, |_| false), Start::Wait { until_us: 6_000 }));
}

#[test]
fn a_late_request_behind_the_head_does_not_end_a_wait_in_the_past() {
    let mut queue = queue(|| Box::new(Fixed::new(8, 1_000, &[])), 1, 10);
    let low = Demand { priority: Priority::new(9), ..demand(0, Some(300)) };
    queue.push(1, low, (), 0, |_| false).unwrap();
    push(&mut queue, 2, 0, 90_000).unwrap();
    assert!(matches!(queue.start(0, true, |_| false), Start::Wait { until_us: 301 }));
    assert!(matches!(queue.start(301, true, |_| false), Start::Wait { until_us: 1_000 }));
    assert_eq!(removed(&mut queue), [1]);
}

#[test]
fn nothing_starts_without_an_idle_replica() {
    let mut queue = predictive(2, 10);
    (0..6).for_each(|item| push(&mut queue, item, 0, 50_000).unwrap());
    let (first, second) = (start(&mut queue, 0).unwrap(), start(&mut queue, 0).unwrap());
    assert_eq!((first.0.len(), second.0.len()), (4, 2));
    push(&mut queue, 9, 0, 50_000).unwrap();
    assert!(start(&mut queue, 0).is_none());
    queue.finish(first.1, RunEnd::Failed, 10);
    queue.finish(first.1, RunEnd::Failed, 10);
    assert_eq!(queue.replicas().available(), 1, "a run ends once");
    assert_eq!(start(&mut queue, 10).unwrap().0, [9]);
}

#[test]
fn an_arrival_removes_late_requests_while_every_replica_is_busy() {
    let mut queue = predictive(1, 10);
    push(&mut queue, 0, 0, 50_000).unwrap();
    let _running = start(&mut queue, 0).unwrap();
    push(&mut queue, 1, 0, 2_500).unwrap();
    push(&mut queue, 2, 2_600, 90_000).unwrap();
    assert_eq!((removed(&mut queue), queue.len()), (vec![1], 1));
}

#[test]
fn the_urgent_take_the_place_of_the_patient_in_a_full_queue() {
    let mut queue = queue(|| Box::new(Fixed::new(8, 0, &[])), 1, 2);
    let mut push = |item, priority| {
        let priority = Priority::new(priority);
        queue.push(item, Demand { priority, ..demand(0, None) }, (), 0, |_| false)
    };
    push(0, 5).unwrap();
    push(1, 6).unwrap();
    assert_eq!(push(2, 6), Err(Rejection::Full));
    push(3, 1).unwrap();
    assert_eq!((removed(&mut queue), queue.len()), (vec![1], 2));
}

#[test]
fn a_request_that_would_be_late_at_the_end_of_the_run_is_not_batched() {
    let mut queue = predictive(1, 10);
    let high = Demand { priority: Priority::new(1), ..demand(0, Some(50_000)) };
    queue.push(0, high, (), 0, |_| false).unwrap();
    push(&mut queue, 1, 0, 4_000).unwrap();
    push(&mut queue, 2, 0, 50_000).unwrap();
    assert_eq!(start(&mut queue, 3_500).unwrap().0, [0, 2]);
    assert_eq!(removed(&mut queue), [1]);
}

#[test]
fn a_request_is_behind_the_run_that_should_end_first() {
    let mut queue = predictive(2, 100);
    assert_eq!(queue.behind(0), None, "replicas are free");
    push(&mut queue, 0, 0, 50_000).unwrap();
    let (_, first) = start(&mut queue, 0).unwrap();
    push(&mut queue, 1, 600, 50_000).unwrap();
    let (_, second) = start(&mut queue, 600).unwrap();
    let mut behind = queue.behind(700).unwrap();
    assert_eq!((behind.number, behind.rows), (first.number(), 1));
    assert!((250..350).contains(&behind.expected_us), "{behind:?}");
    assert_eq!(behind.waited_us, behind.expected_us);
    // As long as it runs, the wait goes on; then it was until its end.
    queue.settle(&mut behind, 700, 1_500);
    assert_eq!(behind.waited_us, 800);
    queue.finish(first, RunEnd::Failed, 1_800);
    queue.settle(&mut behind, 700, 2_500);
    assert_eq!(behind.waited_us, 1_100);
    queue.finish(second, RunEnd::Failed, 2_000);
    assert_eq!(queue.behind(2_500), None);
}

#[test]
fn progress_tells_waiting_from_running() {
    let mut queue = queue(|| Box::new(Fixed::new(2, 5_000, &[])), 1, 100);
    let progress = queue.progress();
    assert_eq!((progress.waiting, progress.finished, progress.is_idle), (0, 0, true));
    push(&mut queue, 0, 0, 50_000).unwrap();
    assert_eq!(start(&mut queue, 0), None, "it waits for a second");
    let progress = queue.progress();
    assert_eq!((progress.waiting, progress.is_lingering), (1, true));
    push(&mut queue, 1, 10, 50_000).unwrap();
    let (_, run) = start(&mut queue, 10).unwrap();
    push(&mut queue, 2, 20, 50_000).unwrap();
    let progress = queue.progress();
    assert_eq!((progress.waiting, progress.is_lingering, progress.is_idle), (1, false, false));
    assert_eq!(queue.busy(), 1);
    queue.finish(run, RunEnd::Failed, 100);
    assert_eq!((queue.progress().finished, queue.busy()), (1, 0));
}

fn class(class: u16) -> Traits {
    Traits { class: ClassId(class), ..Traits::default() }
}

/// A queue of one replica of a millisecond and one of ten, by their classes.
fn fast_and_slow() -> (Queue, [ReplicaId; 2]) {
    let mut queue = queue(|| Box::new(Fixed::new(1, 0, &[])), 0, 100);
    let ids = [queue.join(class(0), true), queue.join(class(1), true)];
    (0..300).for_each(|_| queue.observe(ClassId(0), 1, 1_000.0));
    (0..300).for_each(|_| queue.observe(ClassId(1), 1, 10_000.0));
    (queue, ids)
}

fn run(queue: &mut Queue, now_us: u64) -> Batch<u32> {
    match queue.start(now_us, true, |_| false) {
        Start::Run(batch) => batch,
        other => panic!("nothing runs: {other:?}"),
    }
}

#[test]
fn the_replica_that_finishes_first_takes_the_batch() {
    let (mut queue, [fast, slow]) = fast_and_slow();
    (0..3).for_each(|item| push(&mut queue, item, 0, 90_000).unwrap());
    let first = run(&mut queue, 0);
    let second = run(&mut queue, 0);
    assert_eq!((first.replica, second.replica), (fast, slow));
    assert!(matches!(queue.start(0, true, |_| false), Start::Nothing));
    let sample = RunSample { rows: 1, run_us: 1_000.0 };
    queue.finish(first.run, RunEnd::Succeeded(sample), 1_000);
    assert_eq!(run(&mut queue, 1_000).replica, fast);
}

#[test]
fn run_times_are_learned_apart_by_class() {
    let (mut queue, _) = fast_and_slow();
    push(&mut queue, 0, 0, 90_000).unwrap();
    let batch = run(&mut queue, 0);
    (0..300).for_each(|_| queue.observe(ClassId(1), 1, 20_000.0));
    let of = |class| queue.run_time(ClassId(class)).and_then(|time| time.predict_us(1)).unwrap();
    assert!(of(0) < 1_100.0 && of(1) > 15_000.0, "{} {}", of(0), of(1));
    assert!(batch.predicted_us.unwrap() < 1_100.0);
}

#[test]
fn a_request_that_only_the_busy_replica_can_serve_in_time_waits_for_it() {
    let (mut queue, [fast, _]) = fast_and_slow();
    push(&mut queue, 0, 0, 90_000).unwrap();
    let first = run(&mut queue, 0);
    push(&mut queue, 1, 0, 4_000).unwrap();
    let mut start = || queue.start(0, true, |_| false);
    // A policy without deadlines runs it wherever there is room.
    assert!(matches!(start(), Start::Run(_)));
    queue.finish(first.run, RunEnd::Failed, 1_000);
    let limits = Limits { rows_max: 4, objective_us: Some(10_000.0), replicas: 2 };
    let mut queue = queue_of(limits);
    push(&mut queue, 0, 0, 90_000).unwrap();
    assert_eq!(run(&mut queue, 0).replica, fast);
    (1..3).for_each(|item| push(&mut queue, item, 0, 4_000).unwrap());
    assert!(matches!(queue.start(0, true, |_| false), Start::Nothing), "ten milliseconds are late");
    assert!(removed(&mut queue).is_empty());
}

/// The same two replicas with the predictive policy.
fn queue_of(limits: Limits) -> Queue {
    let mut queue = queue(move || Box::new(Predictive::new(limits)), 0, 100);
    queue.join(class(0), true);
    queue.join(class(1), true);
    for rows in [1, 2, 4] {
        (0..300).for_each(|_| queue.observe(ClassId(0), rows, 1_000.0));
        (0..300).for_each(|_| queue.observe(ClassId(1), rows, 10_000.0));
    }
    queue
}

#[test]
fn a_failed_replica_is_ejected_and_its_request_runs_on_another() {
    let (mut queue, [fast, slow]) = fast_and_slow();
    push(&mut queue, 7, 0, 90_000).unwrap();
    let batch = run(&mut queue, 0);
    assert_eq!(batch.replica, fast);
    queue.finish(batch.run, RunEnd::ReplicaFailed { retry_in_us: Some(500_000) }, 100);
    assert_eq!(queue.replicas().state(fast), ReplicaState::Ejected { until_us: 500_100 });
    queue.requeue(7, demand(0, Some(90_000)), (), 1).unwrap();
    assert_eq!(run(&mut queue, 100).replica, slow);
    push(&mut queue, 8, 200, 900_000).unwrap();
    assert!(matches!(queue.start(200, true, |_| false), Start::Wait { until_us: 500_100 }));
    assert_eq!(run(&mut queue, 500_100).replica, fast);
}

#[test]
fn attempts_are_bounded_and_end_with_the_last_replica() {
    let (mut queue, ids) = fast_and_slow();
    let again = |queue: &mut Queue, attempts| queue.requeue(7, demand(0, None), (), attempts);
    assert_eq!(again(&mut queue, ATTEMPTS_MAX), Err(7));
    assert_eq!(again(&mut queue, ATTEMPTS_MAX - 1), Ok(()));
    for id in ids {
        queue.drain(id);
    }
    assert_eq!((removed(&mut queue), queue.len()), (vec![7], 0), "no replica is left to run it");
    assert_eq!(again(&mut queue, 1), Err(7));
    assert_eq!(push(&mut queue, 8, 0, 90_000), Err(Rejection::NoReplica));
}

#[test]
fn a_replica_leaves_after_its_batch_and_a_new_one_takes_its_place() {
    let mut queue = predictive(1, 100);
    (0..2).for_each(|item| push(&mut queue, item, 0, 90_000).unwrap());
    let batch = run(&mut queue, 0);
    let starting = queue.join(Traits::default(), false);
    assert_eq!(queue.drain(batch.replica), ReplicaState::Draining);
    push(&mut queue, 2, 0, 90_000).unwrap();
    assert!(matches!(queue.start(0, true, |_| false), Start::Nothing));
    queue.set_ready(starting);
    assert_eq!(run(&mut queue, 0).replica, starting);
    queue.finish(batch.run, RunEnd::Failed, 1_000);
    assert_eq!(queue.replicas().state(batch.replica), ReplicaState::Gone);
}

#[test]
fn a_replica_takes_as_many_batches_as_it_declares() {
    let mut queue = queue(|| Box::new(Fixed::new(1, 0, &[])), 0, 100);
    queue.join(Traits { in_flight_max: 3, runs_inline: false, ..class(0) }, true);
    (0..5).for_each(|item| push(&mut queue, item, 0, 90_000).unwrap());
    assert_eq!(queue.next_run_on(), RunOn::ReplicaThread);
    (0..3).for_each(|_| drop(run(&mut queue, 0)));
    assert!(matches!(queue.start(0, true, |_| false), Start::Nothing));
    assert_eq!((queue.busy(), queue.len()), (3, 2));
}
