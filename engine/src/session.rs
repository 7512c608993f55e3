//! An executor of ONNX Runtime: a session, with buffers that are bound and reused for each batch
//! shape. Several executors may run one session at once, each with its own buffers.

use crate::executor::{BatchInput, ExecuteError, Execution, Executor, Stop, Stoppable};
use crate::signature::{Signature, TensorSpec};
use ort::ErrorCode;
use ort::session::{RunOptions, Session};
use plan::{PlannedRun, Plans};
use std::sync::Arc;
use std::time::Instant;

mod buffer;
mod describe;
mod make;
mod message;
mod plan;
mod shared;
#[cfg(test)]
mod tests;

pub(crate) use make::{SessionMaker, Source, lock_operator_registration};

/// Bytes of buffers that an executor keeps after its trial runs.
const IDLE_PLAN_BYTES_MAX: usize = 1 << 20;

/// Option of a run after which the runtime gives back what its memory pool does not use.
const SHRINK_OPTION: (&str, &str) = ("memory.enable_memory_arena_shrinkage", "cpu:0");

/// Reason why a model file cannot be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error(
        "ONNX Runtime can not load it: {0}; check the file with onnx.checker, or export it again"
    )]
    Runtime(String),
    #[error(
        "its {side} '{name}' is {kind}, which no tensor protocol carries; export the model so that \
         it gives tensors (for scikit-learn: convert with zipmap=False)"
    )]
    NotATensor { side: &'static str, name: String, kind: String },
    #[error("its {side} '{name}' has elements of type {element}, which the protocol does not have")]
    Element { side: &'static str, name: String, element: String },
    #[error("its sparse layers can not be run: {0}")]
    Kernel(#[from] skysail_kernels::KernelError),
    #[error("the operator library {path} can not be loaded: {error}")]
    OperatorLibrary { path: String, error: String },
    #[error("its optimised graph can not be kept: {0}")]
    Keep(#[from] std::io::Error),
    #[error("its optimised graph can not be read: {0}")]
    Graph(#[from] skysail_graph::GraphError),
}

impl<R> From<ort::Error<R>> for SessionError {
    fn from(error: ort::Error<R>) -> Self {
        Self::Runtime(message::plain(&error.to_string()))
    }
}

/// An ONNX Runtime session with its buffers.
pub(crate) struct OrtExecutor {
    /// Other executors of the version may run it too.
    session: Arc<Session>,
    /// Holds the flag that ends a run. The runtime reads it between two operators, so one long
    /// operator runs to its end.
    options: Arc<RunOptions>,
    signature: Arc<Signature>,
    /// Outputs as the runtime declares them, right or wrong.
    declared: Vec<TensorSpec>,
    /// True while outputs with proven shapes are bound to buffers.
    relies_on_proofs: bool,
    plans: Plans,
}

impl OrtExecutor {
    /// Makes an executor of a model that is known only from its session.
    pub(crate) fn first(session: Session) -> Result<Self, SessionError> {
        let session = Arc::new(session);
        let signature = Arc::new(describe::signature(&session)?);
        Self::new(session, signature)
    }

    pub(crate) fn new(
        session: Arc<Session>,
        signature: Arc<Signature>,
    ) -> Result<Self, SessionError> {
        let options = Arc::new(RunOptions::new()?);
        let declared = describe::signature(&session)?.outputs;
        Ok(Self {
            session,
            options,
            signature,
            declared,
            relies_on_proofs: true,
            plans: Plans::default(),
        })
    }

    /// The session, which other executors may run too.
    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Inputs and outputs.
    pub(crate) fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Sets the final signature.
    pub(crate) fn set_signature(&mut self, signature: &Arc<Signature>) {
        if self.signature.proven != signature.proven {
            // Buffers of outputs depend on the shapes that were known.
            self.plans.clear();
        }
        self.signature = Arc::clone(signature);
    }

    /// Runs a batch. If that fails, it runs once more without proven shapes: a wrong proof costs
    /// time and no response.
    fn run(
        &mut self,
        inputs: &[BatchInput<'_>],
        given: &[usize],
        stop: &Stop,
    ) -> ort::Result<Execution> {
        let error = match self.run_once(inputs, given) {
            Ok(execution) => return Ok(execution),
            Err(Failure { is_bound, error }) if !is_bound || stop.is_stopped() => {
                return Err(error);
            }
            Err(Failure { error, .. }) => error,
        };
        self.relies_on_proofs = false;
        let again = self.run_once(inputs, given);
        // If both runs fail, the cause is most often the input.
        self.relies_on_proofs = again.is_err();
        if again.is_ok() {
            tracing::warn!("the runtime gives another shape than was proven: {error}");
            self.plans.clear();
        }
        again.map_err(|_| error)
    }

    /// Runs a batch after which the session keeps no memory for larger ones.
    fn run_shrinking(&mut self, inputs: &[BatchInput<'_>]) -> ort::Result<()> {
        let mut options = RunOptions::new()?;
        let (key, value) = SHRINK_OPTION;
        options.set(key, value)?;
        let own = std::mem::replace(&mut self.options, Arc::new(options));
        let ran = self.run(inputs, &[], &Stop::default());
        self.options = own;
        ran.map(drop)
    }

    fn run_once(
        &mut self,
        inputs: &[BatchInput<'_>],
        given: &[usize],
    ) -> Result<Execution, Failure> {
        let Self { session, options, signature, declared, .. } = self;
        let declared = self.relies_on_proofs.then_some(declared.as_slice());
        let planned = PlannedRun { signature, declared, inputs, given };
        let unbound = |error| Failure { is_bound: false, error };
        let plan = self.plans.of(session, &planned).map_err(unbound)?;
        plan.gather(&planned).map_err(unbound)?;
        let gathered = Instant::now();
        let result = plan.run(options, signature);
        let failed = |error| Failure { is_bound: plan.binds_outputs(), error };
        let (outputs, executed) = result.map_err(failed)?;
        Ok(Execution { outputs, gathered, executed })
    }
}

/// A failed run.
struct Failure {
    /// True if outputs were bound to buffers.
    is_bound: bool,
    error: ort::Error,
}

impl Executor for OrtExecutor {
    fn execute(
        &mut self,
        inputs: &[BatchInput<'_>],
        stop: &Stop,
    ) -> Result<Execution, ExecuteError> {
        self.execute_given(inputs, &[], stop)
    }

    fn execute_given(
        &mut self,
        inputs: &[BatchInput<'_>],
        given: &[usize],
        stop: &Stop,
    ) -> Result<Execution, ExecuteError> {
        // The flag may still be set for the last run.
        self.options.unterminate().map_err(|error| failure(&error))?;
        let _attached = stop.attach(Arc::clone(&self.options) as Arc<dyn Stoppable>)?;
        self.run(inputs, given, stop).map_err(|error| match stop.is_stopped() {
            true => ExecuteError::Stopped,
            false => failure(&error),
        })
    }

    fn shrink(&mut self, inputs: &[BatchInput<'_>]) {
        if let Err(error) = self.run_shrinking(inputs) {
            tracing::debug!("memory of trial runs is kept: {error}");
        }
        self.plans.shrink(IDLE_PLAN_BYTES_MAX);
    }
}

/// Failure of a run. What the runtime cannot do at all is the model's fault; otherwise the model
/// does not run on these inputs, which is the request's.
fn failure(error: &ort::Error) -> ExecuteError {
    let message = message::plain(&error.to_string());
    match error.code() {
        ErrorCode::NotImplemented
        | ErrorCode::EngineError
        | ErrorCode::ExecutionProviderFailure
        | ErrorCode::DeviceReset => ExecuteError::Model(message),
        _ => ExecuteError::Request(message),
    }
}

impl Stoppable for RunOptions {
    fn stop(&self) {
        // On an error the run goes on to its end.
        drop(self.terminate());
    }
}
