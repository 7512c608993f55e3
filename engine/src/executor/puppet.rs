//! An executor for tests: it does what the test says, and if wanted when the test says so.

use crate::executor::{BatchInput, ExecuteError, Execution, Executor, Stop};
use crate::request::OutputTensor;
use crate::request::Outputs;
use crate::tensor::{DataType, Shape};
use crate::testing::HANG;
use std::panic::resume_unwind;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Result of a run.
pub(crate) type Ran = Result<Outputs, ExecuteError>;

/// An executor that calls a function.
pub(crate) struct Puppet<F> {
    act: F,
    run_time: Duration,
}

/// An executor that runs each batch through `act`, and says that it took no time.
pub(crate) fn puppet<F>(act: F) -> Box<dyn Executor>
where
    F: FnMut(&[BatchInput<'_>]) -> Ran + Send + 'static,
{
    slow_puppet(Duration::ZERO, act)
}

/// The same, and it says that a run takes this long.
pub(crate) fn slow_puppet<F>(run_time: Duration, mut act: F) -> Box<dyn Executor>
where
    F: FnMut(&[BatchInput<'_>]) -> Ran + Send + 'static,
{
    let act = move |inputs: &[BatchInput<'_>], _: &Stop| act(inputs);
    Box::new(Puppet { act, run_time })
}

/// An executor that runs each batch through `act`, which may see that it is to stop.
pub(crate) fn stoppable_puppet<F>(act: F) -> Box<dyn Executor>
where
    F: FnMut(&[BatchInput<'_>], &Stop) -> Ran + Send + 'static,
{
    Box::new(Puppet { act, run_time: Duration::ZERO })
}

impl<F: FnMut(&[BatchInput<'_>], &Stop) -> Ran + Send> Executor for Puppet<F> {
    fn execute(
        &mut self,
        inputs: &[BatchInput<'_>],
        stop: &Stop,
    ) -> Result<Execution, ExecuteError> {
        let gathered = Instant::now();
        let outputs = (self.act)(inputs, stop)?;
        Ok(Execution { outputs, gathered, executed: gathered + self.run_time })
    }
}

/// All bytes of an input.
pub(crate) fn bytes(input: &BatchInput<'_>) -> Vec<u8> {
    input.parts.iter().flat_map(|part| part.contiguous().into_owned()).collect()
}

/// Every input of floats as the output `yN`.
pub(crate) fn echo(inputs: &[BatchInput<'_>]) -> Outputs {
    let output = |(index, input): (usize, &BatchInput<'_>)| OutputTensor {
        name: format!("y{index}").into(),
        datatype: DataType::Fp32,
        shape: input.shape.clone(),
        data: bytes(input).into(),
    };
    inputs.iter().enumerate().map(output).collect()
}

/// A panic that prints nothing.
pub(crate) fn panic_quietly() -> ! {
    resume_unwind(Box::new("a panic of a puppet"))
}

/// Action of a puppet on a batch.
pub(crate) enum Act {
    Echo,
    Fail,
    Panic,
}

/// Control of a puppet. When it is dropped, the puppet echoes by itself.
pub(crate) struct Hand {
    seen: mpsc::Receiver<Vec<Shape>>,
    acts: mpsc::Sender<Act>,
}

impl Hand {
    /// Waits until a batch has begun to run; the shapes of its inputs.
    pub(crate) fn next_batch(&self) -> Vec<Shape> {
        self.seen.recv_timeout(HANG).expect("no batch comes")
    }

    /// The shapes of a batch that runs now, if one does.
    pub(crate) fn has_batch(&self) -> bool {
        self.seen.try_recv().is_ok()
    }

    /// Lets the batch go on, or the next one when none runs.
    pub(crate) fn let_go(&self, act: Act) {
        self.acts.send(act).expect("the puppet is gone");
    }
}

/// A puppet that shows each batch, and waits to be told what to do with it. It says that a run
/// takes `run_time`.
pub(crate) fn by_hand(run_time: Duration) -> (Box<dyn Executor>, Hand) {
    let (show, seen) = mpsc::channel();
    let (acts, told) = mpsc::channel();
    let executor = slow_puppet(run_time, move |inputs| {
        // A hand that is gone looks at nothing.
        drop(show.send(inputs.iter().map(|input| input.shape.clone()).collect()));
        match told.recv().unwrap_or(Act::Echo) {
            Act::Echo => Ok(echo(inputs)),
            Act::Fail => Err(ExecuteError::Request("told to fail".into())),
            Act::Panic => panic_quietly(),
        }
    });
    (executor, Hand { seen, acts })
}
