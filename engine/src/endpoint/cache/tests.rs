//! That the same key is answered once, any other key never by that answer, and nobody
//! is left without one.

use super::*;
use crate::batching::Batching;
use crate::config::ModelConfig;
use crate::endpoint::Endpoint;
use crate::execute::run_job;
use crate::executor::puppet::{Act, Hand, Ran, by_hand, echo, puppet};
use crate::executor::{BatchInput, ExecuteError, Executor};
use crate::payload::Payload;
use crate::replica::ClassId;
use crate::request::{Request, Response};
use crate::signature::Signature;
use crate::tensor::DataType;
use crate::testing::{
    Threads, answer, batches, block_on, endpoint, floats, help, request, rows, signature, spec,
};
use crate::ticket::Ticket;
use skysail_policy::inline_run::RunOn;
use skysail_policy::queue_policy::{QueuePolicies, QueuePolicy, TimeoutAction};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::Poll;
use std::time::{Duration, Instant};

mod memory;
mod crowd;
mod cost;

/// A run that no caller's thread is lent to.
const LONG: Duration = Duration::from_secs(1);

fn settings(cache: Option<CacheConfig>) -> ModelConfig {
    ModelConfig { cache, ..ModelConfig::default() }
}

/// A model with a cache, whose callers run it.
fn cached(signature: Signature, executor: Box<dyn Executor>) -> Arc<Endpoint> {
    let endpoint = endpoint(
        (signature, Batching::default()),
        vec![executor],
        settings(Some(CacheConfig::default())),
    );
    endpoint.model().queue().observe(ClassId::default(), 1, 1.0);
    endpoint
}

/// An executor that counts its runs.
fn counted<F>(mut act: F) -> (Box<dyn Executor>, Arc<AtomicUsize>)
where
    F: FnMut(&[BatchInput<'_>]) -> Ran + Send + 'static,
{
    let runs = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&runs);
    let executor = puppet(move |inputs| {
        counter.fetch_add(1, Relaxed);
        act(inputs)
    });
    (executor, runs)
}

/// A model with a cache, run by hand on a thread of its own.
fn handled() -> (Arc<Endpoint>, Hand, Threads) {
    handled_as(QueuePolicy::default())
}

/// The same, with limits of the time in the queue.
fn handled_as(policy: QueuePolicy) -> (Arc<Endpoint>, Hand, Threads) {
    let (executor, hand) = by_hand(LONG);
    let queue_policies = QueuePolicies::new(policy);
    let config = ModelConfig { queue_policies, ..settings(Some(CacheConfig::default())) };
    let endpoint = endpoint(batches(0), vec![executor], config);
    let threads = Threads::start(&endpoint);
    (endpoint, hand, threads)
}

/// A ticket that was asked after until it waits.
fn waiting(endpoint: &Arc<Endpoint>, request: Request) -> Ticket {
    let mut ticket = endpoint.submit(request).unwrap();
    assert!(help(&mut ticket).is_pending());
    ticket
}

/// The answer of a model that no thread runs.
fn ask(endpoint: &Arc<Endpoint>, request: Request) -> Result<Response, Error> {
    let mut ticket = endpoint.submit(request).unwrap();
    if let Poll::Ready(answer) = help(&mut ticket) {
        return answer;
    }
    // The run before took long, as far as this thread can tell.
    let mut job = endpoint.model().queue().next_job().unwrap();
    run_job(endpoint.model(), &mut job, RunOn::Caller);
    endpoint.model().queue().finish(job);
    block_on(ticket)
}

fn counts(endpoint: &Endpoint) -> (u64, u64) {
    (endpoint.statistics().cache_hit.count(), endpoint.statistics().cache_miss.count())
}

#[test]
fn a_request_that_comes_again_gets_the_same_bytes_without_a_run() {
    let (executor, runs) = counted(|inputs| Ok(echo(inputs)));
    let endpoint = cached(signature(), executor);
    let first = ask(&endpoint, request(&[1.0, 2.0])).unwrap();
    let mut again = endpoint.submit(request(&[1.0, 2.0])).unwrap();
    let Poll::Ready(Ok(second)) = help(&mut again) else { panic!("it is there") };
    assert_eq!(first.outputs[0].data, second.outputs[0].data);
    assert_eq!((rows(&second), &second.outputs[0].name), (vec![1.0, 2.0], &"y0".into()));
    assert_eq!((&*second.model, second.version), ("m", 1));
    assert_eq!((second.stages.total(), second.stages.batch_rows()), (Duration::ZERO, 0));
    assert_eq!((runs.load(Relaxed), counts(&endpoint)), (1, (1, 1)));
    let statistics = endpoint.statistics();
    assert_eq!((statistics.runs(), statistics.rows()), (1, 1));
    assert_eq!(statistics.queue.count(), 2);
    assert_eq!(statistics.compute_infer.count(), 1);
    drop((first, second, again));
    assert_eq!(Arc::strong_count(&endpoint), 1, "the cache holds its own model");
}

#[test]
fn there_is_no_cache_unless_it_is_asked_for() {
    let (executor, runs) = counted(|inputs| Ok(echo(inputs)));
    let endpoint = endpoint(batches(0), vec![executor], settings(None));
    endpoint.model().queue().observe(ClassId::default(), 1, 1.0);
    for _ in 0..2 {
        assert_eq!(rows(&ask(&endpoint, request(&[1.0])).unwrap()), [1.0]);
    }
    assert_eq!((runs.load(Relaxed), counts(&endpoint), endpoint.cache_usage()), (2, (0, 0), None));
}

/// A request of one tensor, the same bytes whatever the shape.
fn shaped(shape: &[usize]) -> Request {
    let mut request = request(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    request.inputs[0].shape = shape.into();
    request
}

#[test]
fn equal_bytes_of_different_shapes_are_different_requests() {
    let (executor, runs) = counted(|inputs| Ok(echo(inputs)));
    let matrix = [spec("x", DataType::Fp32, &[None, None])];
    let endpoint = cached(Signature { inputs: matrix.into(), ..signature() }, executor);
    for _ in 0..2 {
        for shape in [[2, 3], [3, 2], [6, 1], [1, 6]] {
            let response = ask(&endpoint, shaped(&shape)).unwrap();
            assert_eq!(response.outputs[0].shape.as_slice(), shape);
        }
    }
    assert_eq!((runs.load(Relaxed), counts(&endpoint)), (4, (4, 4)));
}

#[test]
fn other_wanted_outputs_are_another_request() {
    let (executor, runs) = counted(|inputs| Ok(echo(inputs)));
    let tensor = |name| spec(name, DataType::Fp32, &[None]);
    let signature = Signature {
        inputs: vec![tensor("x"), tensor("z")],
        outputs: vec![tensor("y0"), tensor("y1")],
        ..signature()
    };
    let endpoint = cached(signature, executor);
    let names = |wanted: &[&str]| {
        let mut request = request(&[1.0]);
        let second = crate::request::InputTensor { name: "z".into(), ..request.inputs[0].clone() };
        request.inputs.push(second);
        request.outputs = wanted.iter().map(|&name| name.to_owned()).collect();
        let response = ask(&endpoint, request).unwrap();
        response.outputs.iter().map(|output| output.name.to_string()).collect::<Vec<_>>()
    };
    for _ in 0..2 {
        assert_eq!(names(&[]), ["y0", "y1"]);
        for wanted in [vec!["y0"], vec!["y1"], vec!["y1", "y0"]] {
            assert_eq!(names(&wanted), wanted);
        }
    }
    assert_eq!((runs.load(Relaxed), counts(&endpoint)), (4, (4, 4)));
}

#[test]
fn the_pieces_that_bytes_come_in_do_not_matter() {
    let (executor, runs) = counted(|inputs| Ok(echo(inputs)));
    let endpoint = cached(signature(), executor);
    for cut in [0, 1, 4, 5] {
        let mut request = request(&[1.0, 2.0]);
        let mut tail = request.inputs[0].data.clone().into_bytes();
        let mut pieces = Payload::from(tail.split_to(cut));
        pieces.push(tail);
        request.inputs[0].data = pieces;
        assert_eq!(rows(&ask(&endpoint, request).unwrap()), [1.0, 2.0]);
    }
    assert_eq!(runs.load(Relaxed), 1);
}

#[test]
fn the_same_requests_at_the_same_time_share_one_run() {
    let (endpoint, hand, _threads) = handled();
    let leader = waiting(&endpoint, request(&[1.0]));
    hand.next_batch();
    let followers = [(); 3].map(|()| waiting(&endpoint, request(&[1.0])));
    hand.let_go(Act::Echo);
    assert_eq!(answer(leader).unwrap(), [1.0]);
    for follower in followers {
        let response = block_on(follower).unwrap();
        assert_eq!((rows(&response), response.stages.batch_rows()), (vec![1.0], 0));
        assert_eq!(response.stages.queue(), response.stages.total());
    }
    assert!(!hand.has_batch());
    assert_eq!((endpoint.statistics().runs(), counts(&endpoint)), (1, (3, 1)));
    assert_eq!(endpoint.statistics().queue.count(), 4);
    assert_eq!(endpoint.cache.as_ref().unwrap().in_flight_count(), 0);
}

#[test]
fn a_leader_that_leaves_takes_nobody_with_it() {
    let (endpoint, hand, _threads) = handled();
    let leader = waiting(&endpoint, request(&[1.0]));
    hand.next_batch();
    let [first, second] = [(); 2].map(|()| waiting(&endpoint, request(&[1.0])));
    // The run goes on, and so it does when the next to lead leaves too.
    drop(leader);
    drop(first);
    hand.let_go(Act::Echo);
    assert_eq!(answer(second).unwrap(), [1.0]);
    assert!(!hand.has_batch());
    assert_eq!((endpoint.statistics().runs(), counts(&endpoint)), (1, (1, 1)));
}

#[test]
fn a_run_that_was_left_and_fails_is_followed_by_ones_own() {
    let (endpoint, hand, _threads) = handled();
    let leader = waiting(&endpoint, request(&[1.0]));
    hand.next_batch();
    let mut follower = waiting(&endpoint, request(&[1.0]));
    drop(leader);
    assert!(help(&mut follower).is_pending());
    hand.let_go(Act::Fail);
    hand.let_go(Act::Echo);
    assert_eq!(answer(follower).unwrap(), [1.0]);
    assert_eq!((endpoint.statistics().runs(), counts(&endpoint)), (1, (0, 2)));
}

#[test]
fn a_request_that_everybody_left_is_not_run() {
    let (endpoint, hand, _threads) = handled();
    let other = waiting(&endpoint, request(&[0.0]));
    hand.next_batch();
    let leader = waiting(&endpoint, request(&[1.0]));
    let follower = waiting(&endpoint, request(&[1.0]));
    drop(leader);
    drop(follower);
    assert_eq!(endpoint.cache.as_ref().unwrap().in_flight_count(), 1);
    hand.let_go(Act::Echo);
    answer(other).unwrap();
    let last = waiting(&endpoint, request(&[2.0; 2]));
    assert_eq!(hand.next_batch()[0].as_slice(), [2]);
    hand.let_go(Act::Echo);
    answer(last).unwrap();
    assert_eq!(
        (endpoint.model().waiting(), endpoint.cache.as_ref().unwrap().in_flight_count()),
        (0, 0)
    );
}

#[test]
fn a_failure_is_the_leaders_alone_and_is_not_kept() {
    let (endpoint, hand, _threads) = handled();
    let leader = waiting(&endpoint, request(&[1.0]));
    hand.next_batch();
    let [first, second] = [(); 2].map(|()| waiting(&endpoint, request(&[1.0])));
    hand.let_go(Act::Fail);
    assert!(matches!(answer(leader), Err(Error::Execute { .. })));
    hand.let_go(Act::Panic);
    assert!(matches!(answer(first), Err(Error::Internal(_))));
    hand.let_go(Act::Echo);
    assert_eq!(answer(second).unwrap(), [1.0]);
    assert_eq!((endpoint.statistics().runs(), counts(&endpoint)), (1, (0, 3)));
    assert_eq!(answer(endpoint.submit(request(&[1.0])).unwrap()).unwrap(), [1.0]);
    assert_eq!((endpoint.statistics().runs(), counts(&endpoint)), (1, (1, 3)));
}

#[test]
fn a_follower_has_a_deadline_of_its_own() {
    let (endpoint, hand, _threads) = handled();
    let leader = waiting(&endpoint, request(&[1.0]));
    hand.next_batch();
    let hurried = Request { timeout_us: Some(0), ..request(&[1.0]) };
    let mut follower = endpoint.submit(hurried).unwrap();
    let refused = loop {
        if let Poll::Ready(answer) = help(&mut follower) {
            break answer;
        }
    };
    assert!(matches!(refused, Err(Error::TimedOut { timeout_us: 0 })));
    hand.let_go(Act::Echo);
    assert_eq!(answer(leader).unwrap(), [1.0]);
}

/// Asks after a ticket for longer than its time in the queue.
fn waits_on(ticket: &mut Ticket) {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(2) {
        assert!(help(ticket).is_pending());
    }
}

#[test]
fn a_follower_has_a_time_in_the_queue_of_its_own_until_the_leader_runs() {
    let policy = QueuePolicy { allows_override: true, ..QueuePolicy::default() };
    let (endpoint, hand, _threads) = handled_as(policy);
    let busy = waiting(&endpoint, request(&[0.0]));
    hand.next_batch();
    let hurried = || {
        let hurried = Request { timeout_us: Some(1), ..request(&[1.0]) };
        endpoint.submit(hurried).unwrap()
    };
    let patient = Request { timeout_us: Some(10_000_000), ..request(&[1.0]) };
    let leader = waiting(&endpoint, patient);
    let mut queued = hurried();
    let refused = loop {
        if let Poll::Ready(answer) = help(&mut queued) {
            break answer;
        }
    };
    assert!(matches!(refused, Err(Error::TimedOut { timeout_us: 1 })));
    hand.let_go(Act::Echo);
    hand.next_batch();
    let mut running = hurried();
    waits_on(&mut running);
    hand.let_go(Act::Echo);
    assert_eq!(
        [busy, leader, running].map(|ticket| answer(ticket).unwrap()),
        [[0.0], [1.0], [1.0]]
    );
}

#[test]
fn a_follower_whose_time_in_the_queue_only_delays_is_answered() {
    let (wait_max_us, timeout_action) = (Some(1), TimeoutAction::Delay);
    let policy = QueuePolicy { wait_max_us, timeout_action, ..QueuePolicy::default() };
    let (endpoint, hand, _threads) = handled_as(policy);
    let busy = waiting(&endpoint, request(&[0.0]));
    hand.next_batch();
    let leader = waiting(&endpoint, request(&[1.0]));
    let mut follower = endpoint.submit(request(&[1.0])).unwrap();
    waits_on(&mut follower);
    hand.let_go(Act::Echo);
    hand.let_go(Act::Echo);
    let answers = [busy, leader, follower].map(|ticket| answer(ticket).unwrap());
    assert_eq!(answers, [[0.0], [1.0], [1.0]]);
}

#[test]
fn the_deadline_of_the_leader_is_not_the_followers() {
    let (endpoint, hand, _threads) = handled();
    let busy = waiting(&endpoint, request(&[0.0]));
    hand.next_batch();
    let hurried = Request { timeout_us: Some(20_000), ..request(&[1.0]) };
    let mut leader = endpoint.submit(hurried).unwrap();
    let mut follower = endpoint.submit(request(&[1.0])).unwrap();
    let refused = loop {
        if let Poll::Ready(answer) = help(&mut leader) {
            break answer;
        }
        assert!(help(&mut follower).is_pending());
        endpoint.expire();
    };
    assert!(matches!(refused, Err(Error::TimedOut { .. } | Error::Overloaded { .. })));
    hand.let_go(Act::Echo);
    assert_eq!(answer(busy).unwrap(), [0.0]);
    hand.let_go(Act::Echo);
    assert_eq!(answer(follower).unwrap(), [1.0]);
}

#[test]
fn what_is_too_large_is_shared_but_not_kept() {
    let (executor, runs) = counted(|inputs| {
        let mut outputs = echo(inputs);
        outputs[0].data = vec![0; 5 << 20].into();
        Ok(outputs)
    });
    let endpoint = cached(signature(), executor);
    for _ in 0..2 {
        assert_eq!(ask(&endpoint, request(&[1.0])).unwrap().outputs[0].data.len(), 5 << 20);
    }
    assert_eq!((runs.load(Relaxed), counts(&endpoint)), (2, (0, 2)));
    // A request that is too large by itself does not even ask.
    let large = vec![0.0; 2 << 20];
    ask(&endpoint, request(&large)).unwrap();
    assert_eq!((runs.load(Relaxed), counts(&endpoint)), (3, (0, 2)));
    assert_eq!(endpoint.cache_usage(), Some(CacheUsage { entries: 0, bytes: 0 }));
}
