//! Priorities of threads. A thread inherits that of the one that starts it and can only lower it,
//! so threads that serve are started by one that never did.

use rustix::process::{getpriority_process, setpriority_process};
use std::io;
use std::sync::mpsc;
use std::thread::{Builder, JoinHandle};

/// The nice value of threads that load models: a tenth of the weight of those that serve, when
/// both want a core.
const LOW_PRIORITY: i32 = 10;

type Work = Box<dyn FnOnce() + Send>;

/// A thread to be started.
struct Order {
    name: String,
    work: Work,
    started: mpsc::Sender<io::Result<JoinHandle<()>>>,
}

/// Starts threads at the priority of the one that made it, whoever asks.
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

/// Lowers the priority of the calling thread, for ever.
pub(crate) fn lower_priority() {
    // Linux has a nice value for each thread, whatever POSIX says.
    let now = getpriority_process(None).unwrap_or(0);
    if let Err(error) = setpriority_process(None, now.max(LOW_PRIORITY)) {
        tracing::debug!("loading goes on at the priority of everything else: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_of_low_priority_starts_threads_of_normal_priority() {
        let normal = getpriority_process(None).unwrap();
        let spawner = Spawner::start().unwrap();
        let low = std::thread::spawn(move || {
            lower_priority();
            let low = getpriority_process(None).unwrap();
            let (tell, told) = mpsc::channel();
            let work = Box::new(move || tell.send(getpriority_process(None).unwrap()).unwrap());
            spawner.spawn("worker".into(), work).unwrap().join().unwrap();
            (low, told.recv().unwrap())
        });
        assert_eq!(low.join().unwrap(), (normal.max(LOW_PRIORITY), normal));
    }
}
