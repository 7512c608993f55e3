//! Tests which thread runs a request, and that every ticket gets one response.

use super::{JOBS_MAX, Ticket};
use crate::config::{ModelConfig, QueueLimits};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::executor::puppet::{Act, by_hand, bytes, echo, panic_quietly, puppet, slow_puppet};
use crate::executor::{ExecuteError, Executor};
use crate::replica::ClassId;
use crate::request::{Request, Response};
use crate::testing::{HANG, Threads, answer, batches, endpoint, floats, help, request, rows};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

/// A run that no caller's thread is lent to.
const LONG: Duration = Duration::from_secs(1);

/// A model that does not batch, and a channel of the threads on which it ran, once for each run.
fn threads_of_runs(run_time: Duration) -> (Arc<Endpoint>, mpsc::Receiver<ThreadId>) {
    let (ran, runs) = mpsc::channel();
    let executor = slow_puppet(run_time, move |inputs| {
        ran.send(thread::current().id()).unwrap();
        Ok(echo(inputs))
    });
    (endpoint(batches(0), vec![executor], ModelConfig::default()), runs)
}

/// Tickets of requests of one row, each its own number.
fn submit(endpoint: &Arc<Endpoint>, count: usize) -> Vec<Ticket> {
    (0..count).map(|i| endpoint.submit(request(&[i as f32])).unwrap()).collect()
}

#[test]
fn short_runs_stay_on_the_callers_thread_but_not_too_many() {
    let (endpoint, runs) = threads_of_runs(Duration::ZERO);
    endpoint.model().queue().observe(ClassId::default(), 1, 1.0);
    let mut tickets = submit(&endpoint, JOBS_MAX + 3);
    assert!(matches!(help(&mut tickets[0]), Poll::Ready(Ok(_))));
    let ran: Vec<_> = runs.try_iter().collect();
    assert_eq!(ran, [thread::current().id(); JOBS_MAX]);
    assert_eq!(endpoint.model().waiting(), 3);
}

#[test]
fn a_long_run_is_left_to_a_replicas_thread() {
    let (endpoint, runs) = threads_of_runs(LONG);
    let _threads = Threads::start(&endpoint);
    for row in [5.0, 6.0] {
        assert_eq!(answer(endpoint.submit(request(&[row])).unwrap()).unwrap(), [row]);
        assert_ne!(runs.recv_timeout(HANG).unwrap(), thread::current().id());
    }
}

#[test]
fn what_a_helper_leaves_is_run_by_a_replicas_thread() {
    let (endpoint, runs) = threads_of_runs(Duration::ZERO);
    let _threads = Threads::start(&endpoint);
    // The thread runs this one, as nobody knows yet how long it takes, and goes to sleep.
    answer(endpoint.submit(request(&[0.0])).unwrap()).unwrap();
    let mut tickets = submit(&endpoint, 3 * JOBS_MAX);
    // The last one alone helps; nobody asks for the others until all is done.
    drop(help(tickets.last_mut().unwrap()));
    for _ in 0..=3 * JOBS_MAX {
        runs.recv_timeout(HANG).expect("some are left");
    }
    tickets.pop();
    for (i, ticket) in tickets.into_iter().enumerate() {
        assert_eq!(answer(ticket).unwrap(), [i as f32]);
    }
}

#[test]
fn who_leaves_before_helping_does_not_stand_in_an_idle_queue() {
    let (endpoint, _runs) = threads_of_runs(Duration::ZERO);
    let _threads = Threads::start(&endpoint);
    for polls in 0..2 {
        let mut ticket = endpoint.submit(request(&[0.0])).unwrap();
        for _ in 0..polls {
            let mut context = Context::from_waker(Waker::noop());
            assert!(Pin::new(&mut ticket).poll(&mut context).is_pending());
        }
        drop(ticket);
        let deadline = Instant::now() + HANG;
        while endpoint.model().waiting() > 0 {
            assert!(Instant::now() < deadline, "nobody was told");
            thread::yield_now();
        }
    }
}

#[test]
fn what_arrives_while_a_batch_runs_is_the_next_batch() {
    let (executor, hand) = by_hand(LONG);
    let endpoint = endpoint(batches(64), vec![executor], ModelConfig::default());
    let _threads = Threads::start(&endpoint);
    let mut first = endpoint.submit(request(&[0.0])).unwrap();
    assert!(help(&mut first).is_pending());
    assert_eq!(hand.next_batch()[0].as_slice(), [1]);
    let tickets: Vec<_> =
        (1..4).map(|i| endpoint.submit(request(&[i as f32; 2])).unwrap()).collect();
    assert!(!hand.has_batch(), "there is one replica");
    hand.let_go(Act::Echo);
    assert_eq!(hand.next_batch()[0].as_slice(), [6]);
    hand.let_go(Act::Echo);
    assert_eq!(answer(first).unwrap(), [0.0]);
    for (i, ticket) in (1..4).zip(tickets) {
        assert_eq!(answer(ticket).unwrap(), [i as f32; 2]);
    }
}

#[test]
fn a_ticket_that_is_dropped_is_not_run() {
    let (executor, hand) = by_hand(LONG);
    let endpoint = endpoint(batches(64), vec![executor], ModelConfig::default());
    let _threads = Threads::start(&endpoint);
    let mut first = endpoint.submit(request(&[0.0])).unwrap();
    assert!(help(&mut first).is_pending());
    hand.next_batch();
    let mut tickets: Vec<_> = (0..3).map(|_| endpoint.submit(request(&[1.0])).unwrap()).collect();
    // Before it is asked, and after it has helped.
    drop(tickets.remove(0));
    assert!(help(&mut tickets[0]).is_pending());
    drop(tickets.remove(0));
    // The caller of a batch that runs may leave too.
    drop(first);
    hand.let_go(Act::Echo);
    assert_eq!(hand.next_batch()[0].as_slice(), [1]);
    hand.let_go(Act::Echo);
    assert_eq!(answer(tickets.remove(0)).unwrap(), [1.0]);
    assert_eq!(endpoint.model().waiting(), 0);
}

#[test]
fn a_refused_request_gets_no_ticket() {
    let queue = QueueLimits { requests_max: 1, timeout_us: None };
    let config = ModelConfig { queue, ..ModelConfig::default() };
    let endpoint = endpoint(batches(4), vec![puppet(|inputs| Ok(echo(inputs)))], config);
    let _first = endpoint.submit(request(&[1.0])).unwrap();
    assert!(matches!(endpoint.submit(request(&[1.0])), Err(Error::QueueFull { .. })));
    assert!(matches!(endpoint.submit(request(&[1.0; 5])), Err(Error::Invalid(_))));
}

/// A value for which the crowd's executors fail.
const FAIL: f32 = -1.0;
/// A value for which they panic.
const PANIC: f32 = -2.0;

/// An executor that is quick or slow by turns, and fails and panics on some values.
fn moody() -> Box<dyn Executor> {
    let mut runs = 0_u32;
    puppet(move |inputs| {
        runs += 1;
        let begun = Instant::now();
        let takes = Duration::from_micros(if runs.is_multiple_of(8) { 600 } else { 5 });
        while begun.elapsed() < takes {
            thread::yield_now();
        }
        let values = floats(&bytes(&inputs[0]));
        if values.contains(&PANIC) {
            panic_quietly();
        }
        if values.contains(&FAIL) {
            return Err(ExecuteError::Request("told to".into()));
        }
        Ok(echo(inputs))
    })
}

/// A caller in a crowd: what it sends, and how it behaves.
struct Caller {
    rows: Vec<f32>,
    timeout_us: Option<u64>,
    /// Number of polls before it leaves, if it leaves.
    patience: Option<u32>,
}

impl Caller {
    fn new(number: u32) -> Self {
        // Golden ratio steps: different for each, in no pattern.
        let dice = |salt: u32| number.wrapping_add(salt).wrapping_mul(0x9E37_79B9) >> 16;
        let mut rows = vec![number as f32; dice(1) as usize % 5];
        match dice(2) % 50 {
            0 => rows.push(FAIL),
            1 => rows.push(PANIC),
            _ => {}
        }
        let timeout_us = (dice(3) % 8 == 0).then(|| u64::from(dice(4) % 500));
        let patience = (dice(5) % 5 == 0).then(|| dice(6) % 4);
        Self { rows, timeout_us, patience }
    }

    /// Submits until there is room.
    async fn submit(&self, endpoint: &Arc<Endpoint>) -> Result<Ticket, Error> {
        loop {
            let request = Request { timeout_us: self.timeout_us, ..request(&self.rows) };
            match endpoint.submit(request) {
                Err(Error::QueueFull { .. }) => tokio::task::yield_now().await,
                submitted => return submitted,
            }
        }
    }

    /// The answer, unless it leaves before.
    async fn ask(&self, endpoint: &Arc<Endpoint>) -> Option<Result<Response, Error>> {
        let mut ticket = match self.submit(endpoint).await {
            Ok(ticket) => ticket,
            Err(error) => return Some(Err(error)),
        };
        let Some(patience) = self.patience else { return Some(ticket.await) };
        for _ in 0..patience {
            tokio::select! {
                biased;
                answer = &mut ticket => return Some(answer),
                () = tokio::task::yield_now() => {}
            }
        }
        None
    }

    fn check(&self, answer: Result<Response, Error>) {
        match answer {
            Ok(response) => assert_eq!(rows(&response), self.rows),
            Err(Error::TimedOut { timeout_us }) => assert_eq!(Some(timeout_us), self.timeout_us),
            Err(Error::Overloaded { deadline_us, .. } | Error::Dropped { deadline_us, .. }) => {
                assert_eq!(Some(deadline_us), self.timeout_us);
            }
            Err(Error::Execute { .. }) => assert!(self.rows.contains(&FAIL)),
            Err(Error::Internal(_)) => assert!(self.rows.contains(&PANIC)),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Many callers at once; how many were answered with rows.
fn crowd(replicas: usize, batch_rows_max: usize, requests_max: usize) -> usize {
    const CALLERS: u32 = 1500;
    let config = ModelConfig {
        queue: QueueLimits { requests_max, timeout_us: None },
        ..ModelConfig::default()
    };
    let executors = (0..replicas).map(|_| moody()).collect();
    let endpoint = endpoint(batches(batch_rows_max), executors, config);
    let threads = Threads::start(&endpoint);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(4).enable_time().build().unwrap();
    let answered = Arc::new(AtomicUsize::new(0));
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..CALLERS {
        let (endpoint, answered) = (Arc::clone(&endpoint), Arc::clone(&answered));
        let ask = async move {
            let caller = Caller::new(number);
            if let Some(answer) = caller.ask(&endpoint).await {
                answered.fetch_add(usize::from(answer.is_ok()), Relaxed);
                caller.check(answer);
            }
        };
        callers.spawn_on(ask, runtime.handle());
    }
    runtime.block_on(async {
        while let Some(caller) = tokio::time::timeout(HANG, callers.join_next()).await.unwrap() {
            caller.unwrap();
        }
    });
    drop(threads);
    assert_eq!(endpoint.model().waiting(), 0);
    // Those who left while their batch ran had outputs too, and nobody twice.
    let answered = answered.load(Relaxed);
    let ran = endpoint.statistics().queue.count();
    assert!((answered as u64..u64::from(CALLERS)).contains(&ran), "{answered}, {ran}");
    answered
}

#[test]
fn everyone_in_a_crowd_who_stays_is_answered() {
    for replicas in [1, 3] {
        // With batches, without them, and with a queue that is too small.
        assert!(crowd(replicas, 8, 100_000) > 800);
        assert!(crowd(replicas, 0, 100_000) > 800);
        assert!(crowd(replicas, 8, 20) > 800);
    }
}
