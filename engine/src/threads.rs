//! Priorities of threads: those that talk to clients come first, then those that run models, then
//! those that load them. So a request is refused in time, or taken in and known to the scheduler,
//! while every core runs models, and a model is loaded from what is left.
//!
//! A thread inherits the priority of the one that starts it and can only lower it, so the threads
//! that run models are started by one that never loaded.

use rustix::process::{getpriority_process, setpriority_process};
use std::io;
use std::sync::mpsc;
use std::thread::{Builder, JoinHandle};

/// What a thread is for, when it does not talk to clients.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Duty {
    /// Runs models.
    Execute,
    /// Loads models.
    Load,
}

impl Duty {
    /// Its nice value. When both want a core, who talks to clients weighs three times as much as
    /// who runs models, and that nine times as much as who loads them.
    fn nice(self) -> i32 {
        match self {
            Self::Execute => 5,
            Self::Load => 15,
        }
    }
}

type Work = Box<dyn FnOnce() + Send>;

/// A thread to be started.
struct Order {
    name: String,
    work: Work,
    started: mpsc::Sender<io::Result<JoinHandle<()>>>,
}

/// Starts threads that run models, whoever asks.
#[derive(Clone)]
pub(crate) struct Spawner {
    orders: mpsc::Sender<Order>,
}

impl Spawner {
    /// Starts its thread, which ends when nobody has the spawner any more.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub(crate) fn start() -> io::Result<Self> {
        let (orders, inbox) = mpsc::channel::<Order>();
        Builder::new().name("spawner".into()).spawn(move || {
            lower_priority(Duty::Execute);
            for Order { name, work, started } in inbox {
                // Whoever asked waits for the answer.
                drop(started.send(Builder::new().name(name).spawn(work)));
            }
        })?;
        Ok(Self { orders })
    }

    /// Starts a thread of this name.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub(crate) fn spawn(&self, name: String, work: Work) -> io::Result<JoinHandle<()>> {
        let ended = || io::Error::other("the thread that starts others has ended");
        let (started, answer) = mpsc::channel();
        self.orders.send(Order { name, work, started }).map_err(|_| ended())?;
        answer.recv().map_err(|_| ended())?
    }
}

/// Lowers the priority of the calling thread, and of those that it starts, for ever.
pub(crate) fn lower_priority(duty: Duty) {
    // Linux has a nice value for each thread, whatever POSIX says.
    let now = getpriority_process(None).unwrap_or(0);
    if let Err(error) = setpriority_process(None, now.max(duty.nice())) {
        tracing::debug!("{duty:?} goes on at the priority of everything else: {error}");
    }
}

/// Does this on a thread of its own, so that the threads it starts have their duty's priority and
/// the caller keeps its own.
pub(crate) fn starting<T: Send>(duty: Duty, work: impl FnOnce() -> T + Send) -> T {
    let work = || {
        lower_priority(duty);
        work()
    };
    let result = std::thread::scope(|scope| scope.spawn(work).join());
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_loads_starts_threads_that_run_before_it() {
        let normal = getpriority_process(None).unwrap();
        let spawner = Spawner::start().unwrap();
        let loads = std::thread::spawn(move || {
            lower_priority(Duty::Load);
            let own = getpriority_process(None).unwrap();
            let (tell, told) = mpsc::channel();
            let work = Box::new(move || tell.send(getpriority_process(None).unwrap()).unwrap());
            spawner.spawn("worker".into(), work).unwrap().join().unwrap();
            (own, told.recv().unwrap())
        });
        assert_eq!(loads.join().unwrap(), (normal.max(15), normal.max(5)));
        assert_eq!(getpriority_process(None).unwrap(), normal, "no other thread is touched");
    }
}
