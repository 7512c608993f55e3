//! An executor around an executor: it joins ragged inputs, and makes the inputs of the batch.

use super::batch_inputs::make;
use super::plan::GraphInput;
use crate::executor::{BatchInput, ExecuteError, Execution, Executor, Stop};
use crate::payload::Payload;
use crate::tensor::{Shape, elements};
use smallvec::{SmallVec, smallvec};
use std::sync::Arc;

/// An executor of a graph, which takes inputs as requests bring them.
pub(super) struct RaggedExecutor {
    pub(super) inner: Box<dyn Executor>,
    /// Source of each input of the graph.
    pub(super) inputs: Arc<[GraphInput]>,
    /// Number of inputs that every request brings.
    pub(super) required: usize,
}

impl Executor for RaggedExecutor {
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
        self.with_graph_inputs(inputs, |inner, graph| inner.execute_given(graph, given, stop))?
    }

    fn shrink(&mut self, inputs: &[BatchInput<'_>]) {
        // Inputs that do not fit leave the memory as it is.
        drop(self.with_graph_inputs(inputs, |inner, graph| inner.shrink(graph)));
    }
}

impl RaggedExecutor {
    /// Calls `work` with the executor of the graph and the inputs that it takes.
    fn with_graph_inputs<T>(
        &mut self,
        inputs: &[BatchInput<'_>],
        work: impl FnOnce(&mut dyn Executor, &[BatchInput<'_>]) -> T,
    ) -> Result<T, ExecuteError> {
        let missing = || ExecuteError::Model("a batch lacks an input".into());
        let (brought, optional) = inputs.split_at_checked(self.required).ok_or_else(missing)?;
        let make = |input: &GraphInput| match *input {
            GraphInput::Made { kind, datatype, source } => {
                make(kind, datatype, &members(&brought[source])).map_err(ExecuteError::Request)
            }
            _ => Ok((Shape::new(), Payload::default())),
        };
        let made: Vec<(Shape, Payload)> = self.inputs.iter().map(make).collect::<Result<_, _>>()?;
        let input = |(input, (shape, data))| whole(input, brought, shape, data);
        let graph = self.inputs.iter().zip(made.iter().map(|(shape, data)| (shape, data)));
        let graph = graph.map(input).chain(optional.iter().map(|it| copied(it, it.shape.clone())));
        let graph: SmallVec<[BatchInput<'_>; 4]> = graph.collect();
        Ok(work(&mut *self.inner, &graph))
    }
}

/// An input of the graph; `shape` and `data` are of one that is made.
fn whole<'m>(
    input: &GraphInput,
    brought: &'m [BatchInput<'_>],
    shape: &Shape,
    data: &'m Payload,
) -> BatchInput<'m> {
    match *input {
        GraphInput::Rows(index) => copied(&brought[index], brought[index].shape.clone()),
        GraphInput::Flat(index) => {
            let count = elements(&brought[index].shape).unwrap_or(0);
            copied(&brought[index], smallvec![count])
        }
        GraphInput::Made { .. } => {
            BatchInput { shape: shape.clone(), parts: smallvec![data], members: Vec::new() }
        }
    }
}

/// The same data in this shape.
fn copied<'m>(input: &'m BatchInput<'_>, shape: Shape) -> BatchInput<'m> {
    let parts = input.parts.iter().map(|part| &**part).collect();
    BatchInput { shape, parts, members: Vec::new() }
}

/// Shape of each member. In trial runs they are one member, or rows of one shape.
fn members(input: &BatchInput<'_>) -> Vec<Shape> {
    if !input.members.is_empty() {
        return input.members.clone();
    }
    let mut shape = input.shape.clone();
    if let (Some(rows), 2..) = (shape.first_mut(), input.parts.len()) {
        *rows = 1;
    }
    vec![shape; input.parts.len()]
}
