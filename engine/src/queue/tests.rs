//! Tests which requests are batched, rejected, or removed before they cost compute.

use super::{Deadline, Entry, Job, Queue};
use crate::error::Error;
use crate::executor::puppet::{echo, panic_quietly, puppet};
use crate::replica::{ClassId, Replica};
use crate::request::Response;
use crate::testing::HANG;
use crate::validate::{ValidInput, ValidRequest};
use proptest::prelude::*;
use skysail_policy::batch::fixed::Fixed;
use skysail_policy::batch::{BatchPolicy, Decision, FinishedRun, QueueView};
use skysail_policy::priority::Priority;
use skysail_policy::queue_policy::QueuePolicies;
use skysail_policy::run_time::RunTime;
use skysail_policy::scheduler::MakePolicy;
use smallvec::smallvec;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Response channel of an entry.
type Reply = oneshot::Receiver<Result<Response, Error>>;

const FOR_EVER_US: u64 = 3_600_000_000;

fn queue(executors: usize, rows_max: usize, delay_us: u64, requests_max: usize) -> Queue {
    let make_policy =
        move || -> Box<dyn BatchPolicy> { Box::new(Fixed::new(rows_max, delay_us, &[])) };
    queue_of(executors, Box::new(make_policy), requests_max)
}

fn queue_of(executors: usize, make_policy: MakePolicy, requests_max: usize) -> Queue {
    let queue = Queue::new("m", make_policy, requests_max, QueuePolicies::default());
    for _ in 0..executors {
        queue.join(Replica::direct(puppet(|inputs| Ok(echo(inputs)))));
    }
    queue
}

/// One idle replica, batches of four rows, no delay.
fn plain() -> Queue {
    queue(1, 4, 0, 1000)
}

/// An entry with one input of this shape.
fn entry(shape: &[usize]) -> (Entry, Reply) {
    let (reply, receiver) = oneshot::channel();
    let inputs = smallvec![ValidInput { shape: shape.into(), data: vec![].into() }];
    let batch_key = shape[1..].into();
    let request = ValidRequest { inputs, rows: shape[0], batch_key, ..ValidRequest::default() };
    let (queued, priority) = (Instant::now(), Priority::default());
    (
        Entry {
            request,
            queued,
            priority,
            deadline: None,
            wait_limit: None,
            behind: None,
            ahead: 0,
            attempts: 0,
            is_running: None,
            reply: reply.into(),
        },
        receiver,
    )
}

fn push(queue: &Queue, shape: &[usize]) -> Reply {
    let (entry, reply) = entry(shape);
    queue.push(entry).unwrap();
    reply
}

fn shapes(job: &Job) -> Vec<Vec<usize>> {
    job.entries.iter().map(|entry| entry.request.inputs[0].shape.to_vec()).collect()
}

/// Ends a job whose entries are answered.
fn finish(queue: &Queue, mut job: Job) {
    job.entries.clear();
    queue.finish(job);
}

/// The shapes of the next batch, whose replica is free again.
fn next(queue: &Queue) -> Vec<Vec<usize>> {
    assert!(queue.len() > 0, "nothing waits");
    let job = queue.next_job().unwrap();
    let shapes = shapes(&job);
    finish(queue, job);
    shapes
}

#[test]
fn a_batch_holds_entries_of_one_shape_in_their_order() {
    let queue = plain();
    let _replies = [[1, 2], [1, 3], [2, 2], [1, 3], [1, 2]].map(|shape| push(&queue, &shape));
    assert_eq!(next(&queue), [[1, 2], [2, 2], [1, 2]]);
    assert_eq!(next(&queue), [[1, 3], [1, 3]]);
    assert_eq!(queue.len(), 0);
}

#[test]
fn what_waits_for_a_fuller_batch_runs_at_once_when_nothing_more_comes() {
    let queue = queue(1, 4, FOR_EVER_US, 1000);
    let _replies = [1, 1].map(|rows| push(&queue, &[rows]));
    assert!(queue.start_here().is_none());
    let shapes = std::thread::scope(|scope| {
        let thread = scope.spawn(|| next(&queue));
        queue.expect_no_more();
        thread.join().unwrap()
    });
    assert_eq!(shapes, [[1], [1]]);
    // The last ones do not wait either.
    let _reply = push(&queue, &[3]);
    assert_eq!(next(&queue), [[3]]);
}

#[test]
fn refused_requests_are_told_why() {
    let queue = queue(1, 4, FOR_EVER_US, 1000);
    let mut reply = push(&queue, &[1]);
    queue.refuse_all("the server is stopping");
    let refused = reply.try_recv().unwrap().unwrap_err();
    assert!(matches!(refused, Error::ModelNotReady { .. }), "{refused}");
    assert!(queue.push(entry(&[1]).0).unwrap_err().to_string().contains("is stopping"));
    assert!(queue.next_job().is_none());
    assert_eq!(queue.len(), 0);
}

#[test]
fn a_batch_never_passes_its_limit_but_for_one_larger_request_alone() {
    let queue = plain();
    let _replies = [3, 2, 1, 9, 1, 4].map(|rows| push(&queue, &[rows]));
    assert_eq!(next(&queue), [[3], [1]]);
    assert_eq!(next(&queue), [[2], [1]]);
    assert_eq!(next(&queue), [[9]]);
    assert_eq!(next(&queue), [[4]]);
}

#[test]
fn a_model_that_does_not_batch_runs_requests_one_by_one() {
    let queue = queue(1, 0, 0, 1000);
    let _replies = [1, 1].map(|rows| push(&queue, &[rows]));
    assert_eq!(next(&queue), [[1]]);
    assert_eq!(next(&queue), [[1]]);
}

#[test]
fn a_full_queue_refuses_and_those_who_left_do_not_fill_it() {
    let queue = queue(1, 4, 0, 2);
    let (first, _second) = (push(&queue, &[1]), push(&queue, &[1]));
    let refused = queue.push(entry(&[1]).0).unwrap_err();
    assert!(matches!(refused, Error::QueueFull { limit: 2, .. }), "{refused}");
    assert_eq!(queue.len(), 2);
    drop(first);
    let _third = push(&queue, &[1]);
    assert!(matches!(queue.push(entry(&[1]).0), Err(Error::QueueFull { .. })));
}

#[test]
fn who_left_is_not_in_a_batch_wherever_it_stood() {
    for gone in 0..3 {
        let queue = plain();
        let mut replies = vec![push(&queue, &[1]), push(&queue, &[2]), push(&queue, &[3])];
        drop(replies.remove(gone));
        let mut seen = next(&queue);
        if queue.len() > 0 {
            seen.extend(next(&queue));
        }
        seen.sort();
        let wanted: Vec<_> =
            [1, 2, 3].iter().filter(|&&r| r != gone + 1).map(|&r| vec![r]).collect();
        assert_eq!(seen, wanted);
    }
}

/// The limit of someone who was accepted at this time, as a timeout.
fn timeout(accepted: Instant, allowed_us: u64) -> Deadline {
    let at = accepted + Duration::from_micros(allowed_us);
    Deadline { at, allowed_us, is_timeout: true }
}

#[test]
fn who_waited_too_long_is_told_and_not_run() {
    let queue = queue(1, 4, 0, 9);
    let long_ago = Instant::now() - Duration::from_millis(1);
    // Deadlines that are over, one that is not, and one that no one waits for.
    let cases = [(900, true), (500, true), (FOR_EVER_US, false), (1, true)];
    let mut replies = Vec::new();
    for (allowed_us, _) in cases {
        let (entry, reply) = entry(&[1]);
        let deadline = Some(timeout(long_ago, allowed_us));
        queue.push(Entry { deadline, queued: long_ago, ..entry }).unwrap();
        replies.push(reply);
    }
    drop(replies.pop());
    assert_eq!(next(&queue), [[1]]);
    assert_eq!(queue.len(), 0);
    for (reply, (allowed_us, late)) in replies.iter_mut().zip(cases) {
        match (late, reply.try_recv()) {
            (true, Ok(Err(Error::TimedOut { timeout_us: told }))) => {
                assert_eq!(told, allowed_us);
            }
            // Nobody answers a job that is only looked at.
            (false, Err(_)) => {}
            (_, other) => panic!("{allowed_us}: {other:?}"),
        }
    }
}

#[test]
fn who_waits_too_long_for_a_batch_is_told_though_others_wait_on() {
    let queue = queue(1, 4, FOR_EVER_US, 1000);
    let _patient = push(&queue, &[1]);
    let (entry, reply) = entry(&[1]);
    let deadline = Some(timeout(entry.queued, 1_000));
    queue.push(Entry { deadline, ..entry }).unwrap();
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| next(&queue));
        let told = reply.blocking_recv().unwrap();
        assert!(matches!(told, Err(Error::TimedOut { timeout_us: 1_000 })), "{told:?}");
        queue.close();
        assert_eq!(thread.join().unwrap(), [[1]]);
    });
}

#[test]
fn who_waits_too_long_for_a_busy_replica_is_told_before_it_is_free() {
    let queue = plain();
    let _running = push(&queue, &[1]);
    let job = queue.next_job().unwrap();
    let _patient = push(&queue, &[1]);
    let (entry, mut reply) = entry(&[1]);
    let queued = Instant::now() - Duration::from_millis(1);
    let deadline = Some(timeout(queued, 500));
    queue.push(Entry { deadline, queued, ..entry }).unwrap();
    queue.expire();
    assert!(matches!(reply.try_recv(), Ok(Err(Error::TimedOut { timeout_us: 500 }))));
    assert_eq!(queue.len(), 1);
    finish(&queue, job);
}

#[test]
fn who_can_not_be_answered_in_time_is_refused_at_once() {
    let queue = plain();
    queue.observe(ClassId::default(), 1, 50_000.0);
    queue.observe(ClassId::default(), 4, 50_000.0);
    let limited = |is_timeout| {
        let (entry, reply) = entry(&[1]);
        let deadline = Some(Deadline { is_timeout, ..timeout(entry.queued, 20_000) });
        (queue.push(Entry { deadline, ..entry }), reply)
    };
    let (admitted, _reply) = limited(false);
    admitted.expect("an idle replica takes everyone");
    let job = queue.next_job().unwrap();
    for is_timeout in [false, true] {
        let refused = limited(is_timeout).0.unwrap_err();
        let Error::Overloaded { deadline_us: 20_000, retry_after_ms, .. } = refused else {
            panic!("{refused}")
        };
        assert!((30..=100).contains(&retry_after_ms), "{retry_after_ms}");
    }
    finish(&queue, job);
}

#[test]
fn an_objective_that_passed_is_told_as_overload() {
    let queue = plain();
    let _running = push(&queue, &[1]);
    let job = queue.next_job().unwrap();
    let (entry, mut reply) = entry(&[1]);
    let queued = Instant::now() - Duration::from_millis(1);
    let deadline = Some(Deadline { is_timeout: false, ..timeout(queued, 500) });
    queue.push(Entry { deadline, queued, ..entry }).unwrap();
    queue.expire();
    let told = reply.try_recv();
    assert!(matches!(told, Ok(Err(Error::Dropped { deadline_us: 500, .. }))), "{told:?}");
    finish(&queue, job);
}

/// Runs everything that waits, and can not learn.
struct Stubborn;

impl BatchPolicy for Stubborn {
    fn decide(&mut self, _: &QueueView, _: &RunTime, _: u64) -> Decision {
        Decision::Run { rows_max: 4 }
    }

    fn finished(&mut self, _: &FinishedRun, _: &RunTime, _: u64) {
        panic_quietly();
    }

    fn rows_max(&self) -> usize {
        4
    }
}

#[test]
fn a_panic_while_learning_costs_no_replica() {
    let queue = queue_of(1, Box::new(|| Box::new(Stubborn)), 10);
    for _ in 0..3 {
        let _reply = push(&queue, &[1]);
        let mut job = queue.next_job().unwrap();
        (job.rows, job.run_us) = (1, 1.0);
        assert!(catch_unwind(AssertUnwindSafe(|| finish(&queue, job))).is_err());
        assert_eq!(queue.busy(), 0);
    }
}

#[test]
fn only_short_work_is_started_here() {
    let queue = plain();
    let _first = push(&queue, &[1]);
    assert!(queue.start_here().is_none(), "nobody knows how long it runs");
    queue.observe(ClassId::default(), 1, 10.0);
    let job = queue.start_here().unwrap();
    let _second = push(&queue, &[1]);
    assert!(queue.start_here().is_none(), "the replica is busy");
    assert!(!queue.has_work());
    finish(&queue, job);
    assert!(queue.has_work());
    (0..50).for_each(|_| queue.observe(ClassId::default(), 1, 1e6));
    assert!(queue.start_here().is_none(), "now it is long");
}

#[test]
fn a_delay_ends_early_when_the_batch_is_full_or_the_queue_is_closed() {
    let queue = queue(1, 4, FOR_EVER_US, 1000);
    queue.observe(ClassId::default(), 1, 1.0);
    let _three = push(&queue, &[3]);
    assert!(queue.start_here().is_none());
    let _one = push(&queue, &[1]);
    let job = queue.start_here().unwrap();
    assert_eq!(shapes(&job), [[3], [1]]);
    finish(&queue, job);
    let _rest = push(&queue, &[2]);
    assert!(queue.start_here().is_none());
    queue.close();
    assert_eq!(next(&queue), [[2]]);
    assert!(queue.next_job().is_none());
}

#[test]
fn a_closed_queue_takes_nothing_in_and_gives_out_the_rest() {
    let queue = plain();
    let _reply = push(&queue, &[1]);
    queue.close();
    let refused = queue.push(entry(&[1]).0).unwrap_err();
    assert!(matches!(refused, Error::ModelNotReady { .. }), "{refused}");
    assert_eq!(next(&queue), [[1]]);
    assert!(queue.next_job().is_none());
}

#[test]
fn a_thread_without_work_leaves_and_a_closed_queue_ends_with_its_last_entry() {
    let queue = Arc::new(plain());
    assert!(queue.next_job().is_none(), "nothing waits");
    let _first = push(&queue, &[1]);
    let job = queue.next_job().unwrap();
    let second = push(&queue, &[1]);
    assert!(queue.next_job().is_none(), "the only replica is busy");
    queue.close();
    let (sender, has_ended) = mpsc::channel();
    let waits = Arc::clone(&queue);
    std::thread::spawn(move || {
        waits.wait_until_ended();
        sender.send(()).unwrap();
    });
    drop(second);
    finish(&queue, job);
    assert!(has_ended.try_recv().is_err(), "an entry is left");
    assert!(queue.next_job().is_none(), "its caller has left");
    has_ended.recv_timeout(HANG).expect("it has ended, and nobody told");
}

/// An entry of the property below: its rows, its other dimension, and whether its caller leaves.
type Sent = (usize, usize, bool);

fn sent() -> impl Strategy<Value = Vec<Sent>> {
    prop::collection::vec((0..7_usize, 1..4_usize, prop::bool::weighted(0.2)), 0..40)
}

proptest! {
    #[test]
    fn batches_are_of_one_shape_within_the_limit_oldest_first_and_nobody_is_lost(
        sent in sent(),
        rows_max in 1..6_usize,
    ) {
        let queue = queue(1, rows_max, 0, 1000);
        let mut replies = Vec::new();
        for (place, (rows, other, leaves)) in sent.iter().enumerate() {
            // The place tells entries apart, and is in no dimension that counts.
            let (mut entry, reply) = entry(&[*rows, *other]);
            entry.request.outputs.push(place);
            queue.push(entry).unwrap();
            replies.push(Some(reply).filter(|_| !leaves));
        }
        let mut waiting: Vec<usize> = (0..sent.len()).filter(|&place| !sent[place].2).collect();
        queue.close();
        while let Some(job) = queue.next_job() {
            let batch: Vec<usize> = job.entries.iter().map(|e| e.request.outputs[0]).collect();
            prop_assert_eq!(batch[0], waiting[0], "the oldest goes first");
            prop_assert!(batch.is_sorted());
            prop_assert!(batch.iter().all(|&place| sent[place].1 == sent[batch[0]].1));
            let rows: usize = batch.iter().map(|&place| sent[place].0).sum();
            prop_assert!(rows <= rows_max || batch.len() == 1);
            waiting.retain(|place| !batch.contains(place));
            finish(&queue, job);
        }
        prop_assert!(waiting.is_empty());
    }
}
