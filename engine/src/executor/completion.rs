//! The end of a run that no thread waits for.

use super::{ExecuteError, Execution};

type Then = Box<dyn FnOnce(Result<Execution, ExecuteError>) + Send>;

/// Receives the result of one run, once.
pub struct Completion {
    then: Option<Then>,
}

impl Completion {
    /// Calls `then` with the result.
    pub(crate) fn new(then: impl FnOnce(Result<Execution, ExecuteError>) + Send + 'static) -> Self {
        Self { then: Some(Box::new(then)) }
    }

    /// Ends the run.
    pub fn complete(mut self, result: Result<Execution, ExecuteError>) {
        if let Some(then) = self.then.take() {
            then(result);
        }
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        if let Some(then) = self.then.take() {
            let message = "the replica lost the batch".into();
            then(Err(ExecuteError::Replica { message, retry_in: None }));
        }
    }
}
