//! The signal that stops a run from another thread. `tests/schedules.rs` tests it.

use crate::sync::Mutex;
use std::sync::Arc;

/// A run that can be stopped: in a session of ONNX Runtime, or on another machine.
pub trait Stoppable: Send + Sync {
    /// Makes the run end soon. It is called on a thread that has other work, so it must not wait.
    fn stop(&self);
}

/// The signal that one run is to stop. It reaches that run or none: not the one before, which is
/// over, nor the next of the same executor.
#[derive(Default)]
pub struct Stop {
    state: Mutex<State>,
}

#[derive(Default)]
enum State {
    #[default]
    Before,
    Running(Arc<dyn Stoppable>),
    Stopped,
}

/// The run was told to stop before it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

impl Stop {
    /// Stops the run, or keeps it from beginning. Once it is over this does nothing.
    pub fn stop(&self) {
        let mut state = self.state.lock();
        // The lock is held meanwhile, so that the run is not over before it has been told.
        if let State::Running(run) = std::mem::replace(&mut *state, State::Stopped) {
            run.stop();
        }
    }

    /// Returns true if the run was told to stop.
    pub fn is_stopped(&self) -> bool {
        matches!(*self.state.lock(), State::Stopped)
    }

    /// Lets the signal reach `run` until what this gives is dropped.
    ///
    /// # Errors
    /// When the run was told to stop already, and need not begin.
    pub fn attach(&self, run: Arc<dyn Stoppable>) -> Result<Attached<'_>, Stopped> {
        let mut state = self.state.lock();
        if matches!(*state, State::Stopped) {
            return Err(Stopped);
        }
        *state = State::Running(run);
        Ok(Attached(self))
    }
}

/// A run that its signal reaches, as long as this lives.
#[must_use = "dropped at once, the run can not be stopped"]
pub struct Attached<'a>(&'a Stop);

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        if matches!(*state, State::Running(_)) {
            *state = State::Before;
        }
    }
}
