//! Tests the cancellation of runs under random thread schedules, which shuttle generates.

#![expect(clippy::unwrap_used, reason = "a test panics")]
#![expect(unreachable_pub, reason = "files of the library are modules of this test")]

use cancel::CallerSet;
use executor::{Stop, Stoppable, Stopped};
use shuttle::sync::atomic::{AtomicBool, Ordering::SeqCst};
use shuttle::thread::{self, JoinHandle, yield_now};
use std::sync::Arc;
use tokio::sync::oneshot::{self, Receiver, Sender};

#[path = "../src/cancel.rs"]
mod cancel;
#[path = "../src/executor/stop.rs"]
mod stop;

mod executor {
    pub(crate) use crate::stop::{Stop, Stoppable, Stopped};
}

/// Synchronization types of shuttle.
mod sync {
    use shuttle::sync::MutexGuard;
    pub(crate) use shuttle::sync::atomic::AtomicUsize;

    #[derive(Default)]
    pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap()
        }
    }
}

/// Schedules of each test.
const SCHEDULES: usize = 2_000;
/// Thread switches in a schedule, at most.
const SWITCHES: usize = 3;

/// Runs a test under many schedules.
fn check(test: impl Fn() + Send + Sync + Clone + 'static) {
    shuttle::check_random(test.clone(), SCHEDULES);
    shuttle::check_pct(test, SCHEDULES, SWITCHES);
}

/// An executor that stops as ONNX Runtime does: by a flag that it checks between operators.
#[derive(Default)]
struct Executor(Arc<Flag>);

#[derive(Default)]
struct Flag(AtomicBool);

impl Stoppable for Flag {
    fn stop(&self) {
        self.0.store(true, SeqCst);
    }
}

impl Executor {
    fn execute(&mut self, operators: usize, stop: &Stop) -> Result<(), Stopped> {
        let Self(flag) = self;
        flag.0.store(false, SeqCst);
        let _attached = stop.attach(flag.clone())?;
        for _ in 0..operators {
            yield_now();
            if flag.0.load(SeqCst) {
                return Err(Stopped);
            }
        }
        Ok(())
    }
}

fn channels(count: usize) -> (Vec<Sender<()>>, Vec<Receiver<()>>) {
    (0..count).map(|_| oneshot::channel()).unzip()
}

fn watch(replies: &mut [Sender<()>]) -> Arc<CallerSet> {
    CallerSet::watch(replies.iter_mut().inspect(|_| yield_now()).map(Some))
}

/// Makes each caller leave on its own thread.
fn leave(callers: Vec<Receiver<()>>) -> Vec<JoinHandle<()>> {
    callers.into_iter().map(|caller| thread::spawn(move || drop(caller))).collect()
}

fn join(threads: Vec<JoinHandle<()>>) {
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_run_whose_callers_all_leave_is_stopped() {
    check(|| {
        let (mut replies, callers) = channels(3);
        let leaving = leave(callers);
        let callers = watch(&mut replies);
        // Callers may leave before the run or during it.
        assert_eq!(Executor::default().execute(usize::MAX, callers.stop()), Err(Stopped));
        join(leaving);
    });
}

#[test]
fn a_run_goes_on_for_a_single_caller() {
    check(|| {
        let (mut replies, mut callers) = channels(3);
        let stays = callers.remove(1);
        let leaving = leave(callers);
        let callers = watch(&mut replies);
        assert_eq!(Executor::default().execute(4, callers.stop()), Ok(()));
        join(leaving);
        assert!(!callers.stop().is_stopped());
        drop(stays);
        assert!(callers.stop().is_stopped());
    });
}

#[test]
fn a_stop_never_reaches_the_next_run() {
    check(|| {
        let mut executor = Executor::default();
        let (mut replies, callers) = channels(2);
        let leaving = leave(callers);
        // The run may end or be stopped.
        let _any = executor.execute(2, watch(&mut replies).stop());
        let (mut next, stays) = channels(1);
        assert_eq!(executor.execute(2, watch(&mut next).stop()), Ok(()));
        join(leaving);
        drop((replies, stays));
    });
}

#[test]
fn a_request_that_runs_again_alone_has_its_own_stop() {
    check(|| {
        let mut executor = Executor::default();
        let (mut replies, mut callers) = channels(2);
        let together = watch(&mut replies);
        let stays = callers.remove(0);
        let leaving = leave(callers);
        // This is the case after a failed run.
        assert_eq!(executor.execute(1, watch(&mut replies[..1]).stop()), Ok(()));
        assert_eq!(executor.execute(usize::MAX, watch(&mut replies[1..]).stop()), Err(Stopped));
        join(leaving);
        drop(stays);
        assert!(!together.stop().is_stopped());
    });
}

#[test]
fn an_answered_caller_has_not_left() {
    check(|| {
        let (mut replies, callers) = channels(2);
        let watched = watch(&mut replies);
        replies.into_iter().for_each(|reply| reply.send(()).unwrap());
        join(leave(callers));
        assert!(!watched.stop().is_stopped());
    });
}
