//! Priorities of threads: first those that talk to clients, then those that run models, then those
//! that load models.
//!
//! So a request is rejected in time, or admitted and known to the scheduler, while every core runs
//! models. Loading uses the time that is left.
//!
//! A thread inherits the priority of the thread that starts it and can only lower it. So the
//! threads that run models are started by a thread that never loads.

use rustix::process::{getpriority_process, setpriority_process};
use std::io;
use std::sync::mpsc;
use std::thread::{Builder, JoinHandle};

/// Role of a thread that does not talk to clients.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Role {
    /// Runs models.
    Execute,
    /// Loads models.
    Load,
}

impl Role {
    /// Nice value of the role. Threads that talk to clients get three times the CPU share of threads
    /// that run models. Those get nine times the share of threads that load.
    fn nice(self) -> i32 {
        match self {
            Self::Execute => 5,
            Self::Load => 15,
        }
    }
}

type Work = Box<dyn FnOnce() + Send>;

/// A thread to be started.
struct SpawnRequest {
    name: String,
    work: Work,
    /// Receiver of the result; `None` if nobody waits for it.
    started: Option<mpsc::Sender<io::Result<JoinHandle<()>>>>,
}

/// Starts threads with the priority of running models, from a thread of any priority.
#[derive(Clone)]
pub(crate) struct Spawner {
    requests: mpsc::Sender<SpawnRequest>,
}

impl Spawner {
    /// Starts the spawner's thread, which ends when the last clone of the spawner is dropped.
    ///
    /// # Errors
    /// The system can not start a thread.
    pub(crate) fn start() -> io::Result<Self> {
        let (requests, inbox) = mpsc::channel::<SpawnRequest>();
        Builder::new().name("spawner".into()).spawn(move || {
            lower_priority(Role::Execute);
            for SpawnRequest { name, work, started } in inbox {
                let thread = Builder::new().name(name).spawn(work);
                match started {
                    // The requesting thread waits for this, so sending does not fail.
                    Some(started) => drop(started.send(thread)),
                    None => drop(thread.inspect_err(|error| {
                        tracing::warn!("a thread could not be started: {error}");
                    })),
                }
            }
        })?;
        Ok(Self { requests })
    }

    /// Starts a thread of this name.
    ///
    /// # Errors
    /// The system can not start a thread.
    pub(crate) fn spawn(&self, name: String, work: Work) -> io::Result<JoinHandle<()>> {
        let ended = || io::Error::other("the thread that starts others has ended");
        let (started, result) = mpsc::channel();
        let request = SpawnRequest { name, work, started: Some(started) };
        self.requests.send(request).map_err(|_| ended())?;
        result.recv().map_err(|_| ended())?
    }

    /// Starts a thread of this name soon. The log tells if the system has none to give.
    pub(crate) fn request(&self, name: String, work: Work) {
        // The spawner's thread ends after all its clones, of which this is one.
        drop(self.requests.send(SpawnRequest { name, work, started: None }));
    }
}

/// Lowers the priority of the calling thread, and of the threads that it starts, for ever.
pub(crate) fn lower_priority(role: Role) {
    // Linux has a nice value for each thread, unlike POSIX.
    let now = getpriority_process(None).unwrap_or(0);
    if let Err(error) = setpriority_process(None, now.max(role.nice())) {
        tracing::debug!("the priority of a thread with role {role:?} is not lowered: {error}");
    }
}

/// Runs work on a new thread of the role's priority. Threads that the work starts inherit that
/// priority, and the caller keeps its own.
pub(crate) fn run_with_priority<T: Send>(role: Role, work: impl FnOnce() -> T + Send) -> T {
    let work = || {
        lower_priority(role);
        work()
    };
    let result = std::thread::scope(|scope| scope.spawn(work).join());
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loading_thread_starts_threads_of_higher_priority() {
        let normal = getpriority_process(None).unwrap();
        let spawner = Spawner::start().unwrap();
        let loader = std::thread::spawn(move || {
            lower_priority(Role::Load);
            let own = getpriority_process(None).unwrap();
            let (sender, receiver) = mpsc::channel();
            let work = Box::new(move || sender.send(getpriority_process(None).unwrap()).unwrap());
            spawner.spawn("worker".into(), work).unwrap().join().unwrap();
            (own, receiver.recv().unwrap())
        });
        assert_eq!(loader.join().unwrap(), (normal.max(15), normal.max(5)));
        assert_eq!(getpriority_process(None).unwrap(), normal, "other threads keep theirs");
    }
}
