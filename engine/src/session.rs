//! An executor of ONNX Runtime: one session, with input and output buffers bound and reused for
//! each batch shape.

use crate::executor::{BatchInput, ExecuteError, Execution, Executor, Stop, Stoppable};
use crate::signature::{Signature, TensorSpec};
use ort::session::{RunOptions, Session};
use plan::{Plans, Wanted};
use std::sync::Arc;
use std::time::Instant;

mod buffer;
mod describe;
mod make;
mod plan;
mod shared;

pub(crate) use make::{SessionMaker, Source, taking_in_operators};

/// Why a model file can not be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error("ONNX Runtime can not load it: {0}")]
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
    #[error("its optimised graph can not be kept: {0}")]
    Keep(#[from] std::io::Error),
    #[error("its optimised graph can not be read: {0}")]
    Graph(#[from] skysail_graph::GraphError),
}

impl<R> From<ort::Error<R>> for SessionError {
    fn from(error: ort::Error<R>) -> Self {
        Self::Runtime(error.to_string())
    }
}

/// A session with its buffers.
pub(crate) struct OrtExecutor {
    session: Session,
    /// Hold the flag that ends a run, which the runtime looks at between two operators: a graph
    /// that is one long operator runs to its end.
    options: Arc<RunOptions>,
    signature: Arc<Signature>,
    /// The outputs as the runtime has them, right or wrong.
    declared: Vec<TensorSpec>,
    plans: Plans,
}

impl OrtExecutor {
    /// An executor of a model of which no more is known than its graph says.
    pub(crate) fn first(session: Session) -> Result<Self, SessionError> {
        let signature = Arc::new(describe::signature(&session)?);
        Self::new(session, signature)
    }

    pub(crate) fn new(session: Session, signature: Arc<Signature>) -> Result<Self, SessionError> {
        let options = Arc::new(RunOptions::new()?);
        let declared = describe::signature(&session)?.outputs;
        Ok(Self { session, options, signature, declared, plans: Plans::default() })
    }

    /// What is known about the model.
    pub(crate) fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Takes over what was found out about the model.
    pub(crate) fn set_signature(&mut self, signature: &Arc<Signature>) {
        let known = (self.signature.batches(), &self.signature.proven);
        if known != (signature.batches(), &signature.proven) {
            // The buffers of outputs were made for what was known of their shapes.
            self.plans.clear();
        }
        self.signature = Arc::clone(signature);
    }

    fn run(&mut self, inputs: &[BatchInput<'_>], given: &[usize]) -> ort::Result<Execution> {
        let Self { signature, declared, .. } = self;
        let wanted = Wanted { signature, declared, inputs, given };
        let plan = self.plans.of(&self.session, &wanted)?;
        plan.gather(&wanted)?;
        let gathered = Instant::now();
        let (outputs, executed) = plan.run(&mut self.session, &self.options, &self.signature)?;
        Ok(Execution { outputs, gathered, executed })
    }
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
        let failed = |error: ort::Error| ExecuteError::Failed(error.to_string());
        // The last run may have been told to stop, in time or just as it ended.
        self.options.unterminate().map_err(failed)?;
        let _attached = stop.attach(Arc::clone(&self.options) as Arc<dyn Stoppable>)?;
        self.run(inputs, given).map_err(|error| match stop.is_stopped() {
            true => ExecuteError::Stopped,
            false => failed(error),
        })
    }
}

impl Stoppable for RunOptions {
    fn stop(&self) {
        // When that fails, the run goes on to its end.
        drop(self.terminate());
    }
}
