//! Tests batches that fail or whose callers leave, and executors that panic.

use super::{ExecuteError, run_job};
use crate::config::ModelConfig;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::executor::BatchInput;
use crate::executor::puppet::{
    Act, Ran, by_hand, bytes, echo, panic_quietly, puppet, stoppable_puppet,
};
use crate::replica::ClassId;
use crate::testing::{Threads, answer, batches, block_on, endpoint, floats, request, run_waiting};
use crate::ticket::Ticket;
use parking_lot::Mutex;
use skysail_policy::inline_run::RunOn;
use std::sync::Arc;
use std::time::Duration;

/// A model whose one executor runs short batches on the caller's thread.
fn model_of<F>(act: F) -> Arc<Endpoint>
where
    F: FnMut(&[BatchInput<'_>]) -> Ran + Send + 'static,
{
    let endpoint = endpoint(batches(64), vec![puppet(act)], ModelConfig::default());
    endpoint.model().queue().observe(ClassId::default(), 1, 1.0);
    endpoint
}

/// Submits these rows, each as a request of its own, and has them run as one batch.
fn run_together(endpoint: &Arc<Endpoint>, rows: &[f32]) -> Vec<Result<Vec<f32>, Error>> {
    let submit = |row: &f32| endpoint.submit(request(&[*row])).unwrap();
    let tickets: Vec<Ticket> = rows.iter().map(submit).collect();
    run_waiting(endpoint);
    tickets.into_iter().map(answer).collect()
}

#[test]
fn only_the_bad_member_of_a_batch_fails() {
    let endpoint = model_of(|inputs| {
        if floats(&bytes(&inputs[0])).contains(&13.0) {
            return Err(ExecuteError::Request("13 is bad luck".into()));
        }
        Ok(echo(inputs))
    });
    let answers = run_together(&endpoint, &[1.0, 13.0, 3.0]);
    assert_eq!(answers[0].as_deref().unwrap(), [1.0]);
    assert_eq!(answers[2].as_deref().unwrap(), [3.0]);
    let error = answers[1].as_ref().unwrap_err();
    assert!(matches!(error, Error::Execute { model, .. } if model == "m"), "{error}");
    assert!(error.to_string().contains("13 is bad luck"), "{error}");
    assert_eq!(endpoint.statistics().batches().keys().collect::<Vec<_>>(), [&1]);
}

#[test]
fn a_panic_is_the_failure_of_one_request_and_the_replica_goes_on() {
    let endpoint = model_of(|inputs| {
        if floats(&bytes(&inputs[0])).contains(&13.0) {
            panic_quietly();
        }
        Ok(echo(inputs))
    });
    for _ in 0..3 {
        let answers = run_together(&endpoint, &[1.0, 13.0, 3.0]);
        assert_eq!(answers[0].as_deref().unwrap(), [1.0]);
        assert_eq!(answers[2].as_deref().unwrap(), [3.0]);
        let error = answers[1].as_ref().unwrap_err();
        assert!(matches!(error, Error::Internal(_)), "{error}");
        assert!(error.to_string().contains("'m'"), "{error}");
    }
}

#[test]
fn a_panic_on_a_replicas_thread_leaves_the_thread_at_work() {
    let (executor, hand) = by_hand(Duration::from_secs(1));
    let endpoint = endpoint(batches(64), vec![executor], ModelConfig::default());
    let _threads = Threads::start(&endpoint);
    hand.let_go(Act::Panic);
    let error = answer(endpoint.submit(request(&[1.0])).unwrap()).unwrap_err();
    assert!(matches!(error, Error::Internal(_)), "{error}");
    hand.let_go(Act::Fail);
    let error = answer(endpoint.submit(request(&[2.0])).unwrap()).unwrap_err();
    assert!(matches!(error, Error::Execute { .. }), "{error}");
    hand.let_go(Act::Echo);
    assert_eq!(answer(endpoint.submit(request(&[3.0])).unwrap()).unwrap(), [3.0]);
}

#[test]
fn outputs_that_can_not_be_split_are_asked_for_one_by_one() {
    let spoilt: [fn(&mut crate::request::Outputs); 3] = [
        |outputs| outputs[0].shape[0] = 1,
        |outputs| outputs[0].shape.clear(),
        |outputs| outputs[0].data.truncate(7),
    ];
    for spoil in spoilt {
        let endpoint = model_of(move |inputs| {
            let mut outputs = echo(inputs);
            if inputs[0].parts.len() > 1 {
                spoil(&mut outputs);
            }
            Ok(outputs)
        });
        let answers = run_together(&endpoint, &[1.0, 2.0]);
        assert_eq!(answers[0].as_deref().unwrap(), [1.0]);
        assert_eq!(answers[1].as_deref().unwrap(), [2.0]);
        assert_eq!(endpoint.statistics().runs(), 2);
    }
}

/// Tickets that a test and its executor share.
type Tickets = Arc<Mutex<Vec<Ticket>>>;

/// A model, tickets that are dropped in its next run, and the sizes of its batches so far.
fn model_of_leavers(fails: bool) -> (Arc<Endpoint>, Tickets, Arc<Mutex<Vec<usize>>>) {
    let (leavers, sizes) = (Tickets::default(), Arc::new(Mutex::new(Vec::new())));
    let (leaving, began) = (Arc::clone(&leavers), Arc::clone(&sizes));
    let executor = stoppable_puppet(move |inputs, stop| {
        began.lock().push(inputs[0].parts.len());
        leaving.lock().clear();
        match stop.is_stopped() {
            true => Err(ExecuteError::Stopped),
            false if fails => Err(ExecuteError::Request("told to fail".into())),
            false => Ok(echo(inputs)),
        }
    });
    (endpoint(batches(64), vec![executor], ModelConfig::default()), leavers, sizes)
}

/// Runs what waits as one batch, and gives the rows that it tells the queue of.
fn run_next(endpoint: &Arc<Endpoint>, run_on: RunOn) -> usize {
    let mut job = endpoint.model().queue().next_job().unwrap();
    run_job(endpoint.model(), &mut job, run_on);
    let rows = job.rows;
    endpoint.model().queue().finish(job);
    rows
}

fn submit(endpoint: &Arc<Endpoint>, rows: &[f32]) -> Vec<Ticket> {
    rows.iter().map(|&row| endpoint.submit(request(&[row])).unwrap()).collect()
}

#[test]
fn a_run_that_everyone_leaves_is_stopped_and_its_executor_goes_on() {
    let (endpoint, leavers, sizes) = model_of_leavers(false);
    for stopped in 1..=3 {
        *leavers.lock() = submit(&endpoint, &[1.0, 2.0, 3.0]);
        assert_eq!(run_next(&endpoint, RunOn::ReplicaThread), 0);
        let stays = submit(&endpoint, &[4.0, 5.0]);
        assert_eq!(run_next(&endpoint, RunOn::ReplicaThread), 2);
        assert_eq!(
            stays.into_iter().map(|t| answer(t).unwrap()).collect::<Vec<_>>(),
            [[4.0], [5.0]]
        );
        let statistics = endpoint.statistics();
        assert_eq!((statistics.cancelled(), statistics.runs()), (stopped, stopped));
    }
    assert_eq!(*sizes.lock(), [3, 2, 3, 2, 3, 2], "nobody is run again alone");
}

#[test]
fn a_run_goes_on_while_one_stays() {
    let (endpoint, leavers, sizes) = model_of_leavers(false);
    let mut tickets = submit(&endpoint, &[1.0, 2.0, 3.0]);
    let stays = tickets.remove(1);
    *leavers.lock() = tickets;
    assert_eq!(run_next(&endpoint, RunOn::ReplicaThread), 3);
    assert_eq!(answer(stays).unwrap(), [2.0]);
    assert_eq!((endpoint.statistics().cancelled(), sizes.lock().len()), (0, 1));
}

#[test]
fn who_left_a_batch_that_failed_is_not_run_alone() {
    let (endpoint, leavers, sizes) = model_of_leavers(true);
    let mut tickets = submit(&endpoint, &[1.0, 2.0, 3.0]);
    let stays = tickets.remove(1);
    *leavers.lock() = tickets;
    assert_eq!(run_next(&endpoint, RunOn::ReplicaThread), 0);
    assert!(matches!(answer(stays).unwrap_err(), Error::Execute { .. }));
    assert_eq!(*sizes.lock(), [3, 1]);
}

#[test]
fn a_request_that_runs_alone_can_be_stopped_too() {
    let (endpoint, leavers, sizes) = model_of_leavers(false);
    *leavers.lock() = submit(&endpoint, &[1.0]);
    assert_eq!(run_next(&endpoint, RunOn::ReplicaThread), 0);
    assert_eq!((endpoint.statistics().cancelled(), sizes.lock().len()), (1, 1));
}

#[test]
fn a_run_on_a_callers_thread_is_not_watched() {
    let (endpoint, leavers, _) = model_of_leavers(false);
    *leavers.lock() = submit(&endpoint, &[1.0, 2.0]);
    assert_eq!(run_next(&endpoint, RunOn::Caller), 2);
    assert_eq!((endpoint.statistics().cancelled(), endpoint.statistics().runs()), (0, 1));
}

#[test]
fn an_answer_tells_its_run_and_the_batch_that_it_waited_behind() {
    let (executor, hand) = by_hand(Duration::from_micros(700));
    let endpoint = endpoint(batches(64), vec![executor], ModelConfig::default());
    [1, 4]
        .iter()
        .for_each(|&rows| endpoint.model().queue().observe(ClassId::default(), rows, 1_000.0));
    let submit = |row: f32| endpoint.submit(request(&[row])).unwrap();
    let together = [submit(1.0), submit(2.0), submit(3.0)];
    let _threads = Threads::start(&endpoint);
    assert_eq!(hand.next_batch()[0].as_slice(), [3]);
    let (late, later) = (submit(4.0), submit(5.0));
    let behind = late.behind().unwrap();
    assert_eq!((behind.number, behind.rows, behind.waited_us), (0, 3, behind.expected_us));
    hand.let_go(Act::Echo);
    assert_eq!(hand.next_batch()[0].as_slice(), [2]);
    hand.let_go(Act::Echo);
    let stages = |ticket: Ticket| block_on(ticket).unwrap().stages;
    for stages in together.map(stages) {
        let run = stages.run.unwrap();
        assert_eq!((run.number, run.rows, run.members, run.cold), (0, 3, 3, true));
        assert!(run.ran_us >= 700, "{run:?}");
        assert_eq!((stages.behind, stages.cache), (None, None));
    }
    let (late, later) = (stages(late), stages(later));
    assert_eq!((late.ahead, later.ahead), (0, 1));
    let run = late.run.unwrap();
    assert_eq!((run.number, run.rows, run.predicted_us.is_some()), (1, 2, true));
    let behind = late.behind.unwrap();
    assert_eq!((behind.number, behind.rows), (0, 3));
    assert!(Duration::from_micros(behind.waited_us) <= late.queue(), "{behind:?} {late:?}");
    // Nobody has seen two rows before, and one that was tried is not cold.
    assert!(run.cold);
    let tried = submit(6.0);
    endpoint.model().queue().wake_thread();
    hand.next_batch();
    hand.let_go(Act::Echo);
    assert!(!stages(tried).run.unwrap().cold);
}
