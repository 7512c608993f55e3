//! Replicas that run elsewhere, that fail, and that join and leave.

use super::{ClassId, Replica, ReplicaState};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::executor::puppet::{echo, panic_quietly, puppet};
use crate::executor::{
    AsyncExecutor, BatchInput, BatchInputs, Completion, ExecuteError, Execution, Stop,
};
use crate::model::{Description, Model};
use crate::testing::{HANG, Threads, answer, batches, help, request};
use crate::ticket::Ticket;
use parking_lot::Mutex;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// A batch that a replica elsewhere was given.
struct Given {
    inputs: BatchInputs,
    stop: Arc<Stop>,
    completion: Completion,
}

impl Given {
    fn rows(&self) -> usize {
        self.inputs.inputs[0].0[0]
    }

    /// Ends the run with its inputs as outputs.
    fn echo(self) {
        let Self { inputs: BatchInputs { inputs, .. }, completion, .. } = self;
        let inputs = inputs.iter().map(|(shape, parts)| BatchInput {
            shape: shape.clone(),
            parts: parts.iter().collect(),
            members: vec![],
        });
        let outputs = echo(&inputs.collect::<Vec<_>>());
        let now = Instant::now();
        completion.complete(Ok(Execution { outputs, gathered: now, executed: now }));
    }

    fn fail(self, error: ExecuteError) {
        self.completion.complete(Err(error));
    }
}

/// A replica elsewhere that shows what it is given.
struct Remote(Mutex<mpsc::Sender<Given>>);

impl AsyncExecutor for Remote {
    fn start(&self, inputs: BatchInputs, stop: Arc<Stop>, completion: Completion) {
        drop(self.0.lock().send(Given { inputs, stop, completion }));
    }
}

fn remote(in_flight_max: usize) -> (Replica, mpsc::Receiver<Given>) {
    let (show, given) = mpsc::channel();
    (Replica::elsewhere(Arc::new(Remote(Mutex::new(show))), in_flight_max), given)
}

fn next(given: &mpsc::Receiver<Given>) -> Given {
    given.recv_timeout(HANG).expect("no batch comes")
}

fn served(rows_max: usize, replicas: Vec<Replica>) -> (Arc<Endpoint>, Threads) {
    let (signature, batching) = batches(rows_max);
    let description = Description::new("m", 1, Arc::new(signature), batching);
    let model = Model::new(description, replicas);
    let endpoint = Arc::new(Endpoint::new(Arc::new(model)).unwrap());
    let threads = Threads::start(&endpoint);
    (endpoint, threads)
}

fn submit(endpoint: &Endpoint, rows: &[f32]) -> Ticket {
    endpoint.submit(request(rows)).unwrap()
}

fn unavailable(message: &str) -> ExecuteError {
    ExecuteError::Replica { message: message.into(), retry_in: Some(Duration::from_secs(3_600)) }
}

/// A local replica of a class of its own that counts its runs.
fn local(class: u16) -> (Replica, mpsc::Receiver<usize>) {
    let (show, runs) = mpsc::channel();
    let executor = puppet(move |inputs| {
        let _ = show.send(inputs[0].shape[0]);
        Ok(echo(inputs))
    });
    (Replica::direct(executor).with_class(ClassId(class)), runs)
}

#[test]
fn several_batches_are_in_flight_and_end_in_any_order() {
    let (replica, given) = remote(2);
    let (endpoint, _threads) = served(0, vec![replica]);
    let tickets = [1.0, 2.0, 3.0].map(|row| submit(&endpoint, &[row]));
    drop(submit(&endpoint, &[9.0]));
    let (first, second) = (next(&given), next(&given));
    assert!(given.try_recv().is_err(), "it takes two at a time");
    assert_eq!(endpoint.model().busy(), 2);
    second.echo();
    next(&given).echo();
    first.echo();
    assert_eq!(tickets.map(|ticket| answer(ticket).unwrap()), [[1.0], [2.0], [3.0]]);
    assert_eq!(endpoint.model().busy(), 0);
}

#[test]
fn a_batch_elsewhere_that_fails_is_run_again_one_by_one() {
    let (replica, given) = remote(1);
    let (endpoint, _threads) = served(8, vec![replica]);
    let blocker = submit(&endpoint, &[0.0]);
    drop(submit(&endpoint, &[7.0]));
    let running = next(&given);
    let tickets = [1.0, 2.0].map(|row| submit(&endpoint, &[row]));
    running.echo();
    let together = next(&given);
    assert_eq!(together.rows(), 2);
    together.fail(ExecuteError::Request("one of them is bad".into()));
    next(&given).echo();
    next(&given).fail(ExecuteError::Request("this one".into()));
    let [good, bad] = tickets.map(answer);
    assert_eq!(good.unwrap(), [1.0]);
    assert!(matches!(bad, Err(Error::Execute { .. })));
    answer(blocker).unwrap();
}

#[test]
fn whose_fault_a_failure_is_decides_the_answer() {
    let (replica, given) = remote(1);
    let (endpoint, _threads) = served(0, vec![replica]);
    let failed = |error: ExecuteError| {
        let ticket = submit(&endpoint, &[1.0]);
        drop(submit(&endpoint, &[2.0]));
        next(&given).fail(error);
        answer(ticket).unwrap_err()
    };
    let error = failed(ExecuteError::Request("no".into()));
    assert!(matches!(error, Error::Execute { .. }), "{error}");
    let error = failed(ExecuteError::Model("broken".into()));
    assert!(matches!(error, Error::ModelFailed { .. }), "{error}");
}

#[test]
fn a_request_whose_replica_fails_is_answered_by_another() {
    let (first, given) = remote(1);
    let (second, runs) = local(1);
    let (endpoint, _threads) = served(8, vec![first, second]);
    // The first has no run time yet, as the other has: it is tried first.
    endpoint.model().queue().observe(ClassId(1), 1, 1e6);
    let ticket = submit(&endpoint, &[5.0]);
    drop(submit(&endpoint, &[6.0]));
    let batch = next(&given);
    let stop = Arc::clone(&batch.stop);
    batch.fail(unavailable("the connection broke"));
    assert_eq!(answer(ticket).unwrap(), [5.0]);
    assert_eq!((runs.recv_timeout(HANG).unwrap(), stop.is_stopped()), (1, false));
    let states = endpoint.model().replica_states();
    assert!(matches!(states[0].1, ReplicaState::Ejected { .. }), "{states:?}");
    assert_eq!(states[1].1, ReplicaState::Ready);
    assert_eq!(answer(submit(&endpoint, &[8.0])).unwrap(), [8.0]);
    assert!(given.try_recv().is_err(), "an ejected replica gets nothing");
}

#[test]
fn a_request_after_all_replicas_were_ejected_waits_for_one_and_needs_no_other_event() {
    let (replica, given) = remote(1);
    let (endpoint, _threads) = served(0, vec![replica]);
    let mut left = submit(&endpoint, &[1.0]);
    assert!(help(&mut left).is_pending());
    let batch = next(&given);
    // Nobody waits for it, so it leaves the queue after its replica has failed.
    drop(left);
    batch.fail(ExecuteError::Replica { message: "it broke".into(), retry_in: None });
    let states = endpoint.model().replica_states();
    assert!(matches!(states[0].1, ReplicaState::Ejected { .. }), "{states:?}");
    while endpoint.model().waiting() > 0 {
        std::thread::yield_now();
    }
    // The thread is most likely asleep after this.
    (0..20).for_each(|_| std::thread::yield_now());
    let mut ticket = submit(&endpoint, &[2.0]);
    assert!(help(&mut ticket).is_pending());
    next(&given).echo();
    assert_eq!(answer(ticket).unwrap(), [2.0]);
}

#[test]
fn a_lost_batch_counts_as_a_failure_of_the_replica() {
    let (first, given) = remote(1);
    let (second, _runs) = local(1);
    let (endpoint, _threads) = served(8, vec![first, second]);
    endpoint.model().queue().observe(ClassId(1), 1, 1e6);
    let ticket = submit(&endpoint, &[5.0]);
    drop(submit(&endpoint, &[6.0]));
    drop(next(&given));
    assert_eq!(answer(ticket).unwrap(), [5.0]);
}

/// Fails or panics before it has started anything.
struct Broken;

impl AsyncExecutor for Broken {
    fn start(&self, _inputs: BatchInputs, _stop: Arc<Stop>, _completion: Completion) {
        panic_quietly();
    }
}

#[test]
fn a_panic_while_starting_is_a_failure_of_the_replica() {
    let (second, _runs) = local(1);
    let (endpoint, _threads) = served(8, vec![Replica::elsewhere(Arc::new(Broken), 1), second]);
    endpoint.model().queue().observe(ClassId(1), 1, 1e6);
    let ticket = submit(&endpoint, &[5.0]);
    drop(submit(&endpoint, &[6.0]));
    assert_eq!(answer(ticket).unwrap(), [5.0]);
}

#[test]
fn replicas_join_and_leave_while_requests_run() {
    let (first, given) = remote(1);
    let (endpoint, _threads) = served(0, vec![first]);
    let model = endpoint.model();
    let running = submit(&endpoint, &[1.0]);
    drop(submit(&endpoint, &[9.0]));
    let batch = next(&given);
    let waiting = submit(&endpoint, &[2.0]);
    let (second, others) = remote(1);
    let joined = model.join(second);
    next(&others).echo();
    assert_eq!((answer(waiting).unwrap(), model.replicas()), (vec![2.0], 2));
    let (id, _) = model.replica_states()[0];
    model.drain(id);
    assert_eq!(model.replica_states()[0], (id, ReplicaState::Draining));
    batch.echo();
    assert_eq!(answer(running).unwrap(), [1.0]);
    assert_eq!(model.replica_states(), [(joined, ReplicaState::Ready)]);
}

#[test]
fn requests_that_wait_are_answered_when_the_last_replica_leaves() {
    let (replica, given) = remote(1);
    let (endpoint, _threads) = served(0, vec![replica]);
    let running = submit(&endpoint, &[1.0]);
    drop(submit(&endpoint, &[9.0]));
    let batch = next(&given);
    let waiting = submit(&endpoint, &[2.0]);
    let (id, _) = endpoint.model().replica_states()[0];
    endpoint.model().drain(id);
    assert!(matches!(answer(waiting), Err(Error::Unavailable { .. })));
    assert!(matches!(endpoint.submit(request(&[3.0])), Err(Error::Unavailable { .. })));
    batch.echo();
    assert_eq!(answer(running).unwrap(), [1.0]);
}

#[test]
fn a_run_elsewhere_is_stopped_when_its_caller_leaves() {
    let (replica, given) = remote(1);
    let (endpoint, _threads) = served(0, vec![replica]);
    let ticket = submit(&endpoint, &[1.0]);
    let first = submit(&endpoint, &[0.0]);
    drop(first);
    let batch = next(&given);
    assert!(!batch.stop.is_stopped());
    drop(ticket);
    assert!(batch.stop.is_stopped());
    batch.fail(ExecuteError::Stopped);
}
