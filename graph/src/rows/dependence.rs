//! Dependence of values on the rows of a batch.

use crate::size::{Factor, Size, times};
use crate::{Dim, Node};
use std::fmt;
use std::rc::Rc;

/// Dependence of a value, if requests of equal dimensions share a run as rows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Dependence {
    /// No request: it follows from constants, and from dimensions that all requests share.
    Shared,
    /// One row at a time.
    Rows(Rows),
    /// The number of rows, and nothing else of them.
    Count,
    /// Several rows, or something unknown.
    Mixed(Rc<Mixed>),
}

/// A value that consists of the results of single rows, joined along an axis.
///
/// Rows repeat `outer` times, each with a `block` of entries.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rows {
    /// Axis along which rows are joined.
    pub(crate) axis: usize,
    /// Repetitions of all rows: one, unless dimensions before the rows were merged with theirs.
    pub(crate) outer: Dim,
    /// Contiguous entries of a row.
    pub(crate) block: Dim,
}

/// Point at which rows mix.
#[derive(Debug, PartialEq)]
pub(crate) struct Mixed {
    pub(crate) cause: RowCause,
    /// True if rows are known to affect each other.
    pub(crate) is_certain: bool,
}

/// Point at which a proof of independent rows ends, and the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowCause {
    /// Node, such as `ReduceMax 'scale/max'`; `None` if an input or output is the reason.
    pub node: Option<String>,
    /// Reason in words, such as `it reduces over rows`.
    pub problem: String,
}

/// Failure of a rule to show that rows are independent.
#[derive(Debug)]
pub(crate) enum Problem {
    /// The operator makes rows affect each other.
    Dependent(String),
    /// The operator may make rows affect each other.
    Unknown(String),
}

impl Dependence {
    /// Makes the dependence of an axis with one entry for each row.
    pub(crate) fn along(axis: usize) -> Self {
        Self::Rows(Rows::once(axis, Dim::Fixed(1)))
    }

    pub(crate) fn rows(&self) -> Option<&Rows> {
        match self {
            Self::Rows(rows) => Some(rows),
            _ => None,
        }
    }

    pub(crate) fn mixed(problem: Problem, node: Option<Node<'_>>) -> Self {
        let (problem, is_certain) = match problem {
            Problem::Dependent(problem) => (problem, true),
            Problem::Unknown(problem) => (problem, false),
        };
        let cause = RowCause { node: node.map(name), problem };
        Self::Mixed(Rc::new(Mixed { cause, is_certain }))
    }
}

impl Rows {
    /// Makes rows that come once along an axis, each with a block of entries.
    pub(crate) fn once(axis: usize, block: Dim) -> Self {
        Self { axis, outer: Dim::Fixed(1), block }
    }

    /// Size of the axis.
    pub(crate) fn size(&self) -> Dim {
        times(&times(&self.outer, &Size::of(Factor::Rows)), &self.block)
    }

    /// True if the rows of another axis have the same order.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.outer == other.outer && self.block == other.block
    }

    /// Moves the rows to another axis.
    pub(crate) fn at(&self, axis: usize) -> Dependence {
        Dependence::Rows(Self { axis, ..self.clone() })
    }
}

/// Describes the node: its operator and its name, or that of an output.
fn name(node: Node<'_>) -> String {
    let made = node.outputs().iter().find(|output| !output.is_empty());
    match (node.name(), made) {
        ("", Some(made)) => format!("{} that makes '{made}'", node.op_type()),
        (name, _) => format!("{} '{name}'", node.op_type()),
    }
}

impl fmt::Display for RowCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.node {
            Some(node) => write!(f, "{node}: {}", self.problem),
            None => f.write_str(&self.problem),
        }
    }
}

/// Fails because the operator makes rows affect each other.
pub(crate) fn dependent<T>(problem: impl Into<String>) -> Result<T, Problem> {
    Err(Problem::Dependent(problem.into()))
}

/// Fails because independence cannot be shown.
pub(crate) fn unknown<T>(problem: impl Into<String>) -> Result<T, Problem> {
    Err(Problem::Unknown(problem.into()))
}
