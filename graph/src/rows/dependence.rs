//! What the values of a graph depend on.

use crate::size::{Factor, Size, times};
use crate::{Dim, Node};
use std::fmt;
use std::rc::Rc;

/// What a value depends on, when requests of equal dimensions share a run as rows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Dependence {
    /// On no request: it follows from constants, and from dimensions that all requests share.
    Shared,
    /// On rows, one after the other.
    Rows(Rows),
    /// On the number of rows, and on nothing else of them.
    Count,
    /// On several rows, or on what nobody knows.
    Mixed(Rc<Mixed>),
}

/// A value that is, for each number of rows, what each row gives alone, joined along an axis: `outer`
/// times over, a block of each row after the other.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rows {
    /// The axis along which they are joined.
    pub(crate) axis: usize,
    /// How often all rows come; once, unless dimensions before that of the rows were merged with it.
    pub(crate) outer: Dim,
    /// The entries of a row that come together.
    pub(crate) block: Dim,
}

/// Where rows meet.
#[derive(Debug, PartialEq)]
pub(crate) struct Mixed {
    pub(crate) cause: RowCause,
    /// Whether rows are known to touch each other.
    pub(crate) is_certain: bool,
}

/// Where a proof of independent rows ends, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowCause {
    /// The node, such as `ReduceMax 'scale/max'`; `None` where an input or output is the reason.
    pub node: Option<String>,
    /// The reason in words, such as `it reduces over rows`.
    pub problem: String,
}

/// Why a rule can not tell that rows stay apart.
#[derive(Debug)]
pub(crate) enum Problem {
    /// The operator lets rows touch each other.
    Dependent(String),
    /// It may, or may not.
    Unknown(String),
}

impl Dependence {
    /// One entry of an axis for each row.
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
    /// Rows that come once along an axis, a block of each after the other.
    pub(crate) fn once(axis: usize, block: Dim) -> Self {
        Self { axis, outer: Dim::Fixed(1), block }
    }

    /// The size of the axis.
    pub(crate) fn size(&self) -> Dim {
        times(&times(&self.outer, &Size::of(Factor::Rows)), &self.block)
    }

    /// Whether the rows of another axis lie in the same order.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.outer == other.outer && self.block == other.block
    }

    /// The same rows along another axis.
    pub(crate) fn at(&self, axis: usize) -> Dependence {
        Dependence::Rows(Self { axis, ..self.clone() })
    }
}

/// How a person finds the node: its operator and its name, or that of a value that it makes.
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

/// The operator lets rows touch each other, because of this.
pub(crate) fn dependent<T>(problem: impl Into<String>) -> Result<T, Problem> {
    Err(Problem::Dependent(problem.into()))
}

/// It can not be told whether rows stay apart, because of this.
pub(crate) fn unknown<T>(problem: impl Into<String>) -> Result<T, Problem> {
    Err(Problem::Unknown(problem.into()))
}
