//! Interface of rules to a node.

use super::Dependence;
use super::dependence::{Problem, Rows, dependent, unknown};
use crate::shapes::call::Call;
use crate::shapes::dims;

/// Dependence of a node's outputs, in order. The list may be shorter.
pub(super) type Outcome = Result<Vec<Dependence>, Problem>;

/// Rule of an operator: infers the outputs' dependence. At least one input is not shared, and none
/// is mixed.
pub(super) type Rule = fn(&Call<'_, '_>) -> Outcome;

impl<'c> Call<'c, '_> {
    /// Dependences of the inputs that the node has.
    pub(super) fn dependences(&self) -> impl Iterator<Item = &'c Dependence> {
        (0..self.input_count())
            .filter(|input| self.has_input(*input))
            .map(|input| &self.input(input).dependence)
    }

    /// Dependence of an input; one that is left out is shared.
    pub(super) fn dependence(&self, input: usize) -> &'c Dependence {
        &self.input(input).dependence
    }

    /// Rows of an input, if it has any.
    pub(super) fn rows(&self, input: usize) -> Option<&'c Rows> {
        self.dependence(input).rows()
    }

    /// Rows of an input that must have some.
    pub(super) fn need_rows(&self, input: usize) -> Result<&'c Rows, Problem> {
        match self.dependence(input) {
            Dependence::Rows(rows) => Ok(rows),
            Dependence::Count => dependent("one of its inputs depends on the number of rows"),
            _ => dependent("one of its inputs must have rows, and has none"),
        }
    }

    /// Number of dimensions of an input.
    pub(super) fn rank(&self, input: usize) -> Result<usize, Problem> {
        match self.dims(input) {
            Some(dims) => Ok(dims.len()),
            None => unknown(format!("the rank of input {input} is not known")),
        }
    }

    /// Requires that all inputs but `others` are shared by all requests.
    pub(super) fn shared_besides(&self, others: &[usize]) -> Result<(), Problem> {
        let inputs = 0..self.input_count();
        self.shared(inputs.filter(|input| !others.contains(input)))
    }

    /// Requires that these inputs are shared by all requests.
    pub(super) fn shared(&self, inputs: impl IntoIterator<Item = usize>) -> Result<(), Problem> {
        for input in inputs {
            match self.dependence(input) {
                Dependence::Shared => {}
                Dependence::Count => {
                    return dependent("one of its inputs depends on the number of rows");
                }
                _ => return dependent(format!("its input {input} differs from row to row")),
            }
        }
        Ok(())
    }

    /// Axis of an attribute, for a tensor of this rank.
    pub(super) fn need_axis(&self, default: i64, rank: usize) -> Result<usize, Problem> {
        match self.axis(default, rank) {
            Some(axis) => Ok(axis),
            None => unknown("its axis is out of range"),
        }
    }

    /// Axis that an input holds.
    pub(super) fn axis_input(&self, input: usize, rank: usize) -> Result<usize, Problem> {
        let axis = self.input(input).ints().and_then(|axes| match axes.as_slice() {
            [axis] => dims::axis(*axis, rank),
            _ => None,
        });
        axis.map_or_else(|| unknown("its axis is not known"), Ok)
    }

    /// Version of ONNX's operators.
    pub(super) fn opset(&self) -> i64 {
        self.scope().context().opset().unwrap_or_default()
    }
}
