//! What each value of a graph is, found without running anything: static shape inference after
//! the operators' own definitions (ONNX's `Operators.md`).
//!
//! A rule for each family of operators says what a node makes of what it takes. Small tensors
//! of integers are followed by value, since shapes are computed by nodes as well. Nothing is an
//! error: what cannot be told is unknown. Work and memory are in proportion to the model,
//! whatever it says.

use crate::{Dim, ElementType, Graph, Kind};
use scope::{Analysis, Context, Scope};
use std::collections::HashMap;

pub(crate) mod scope;
pub(crate) mod value;
pub(crate) mod dims;
pub(crate) mod call;
mod table;
mod elementwise;
mod numbers;
mod window;
mod matrix;
pub(crate) mod einsum;
mod normalize;
mod layout;
mod join;
mod resize;
mod slice;
mod gather;
mod reduce;
mod source;
mod quantize;
mod recurrent;
pub(crate) mod branch;
mod ml;
mod rank_only;

/// What each value of a graph is. Those of the graphs inside its nodes are not among them.
#[derive(Debug, Clone, Default)]
pub struct Shapes {
    kinds: HashMap<String, Kind>,
}

impl Shapes {
    /// Finds the kinds of the values of `graph`, where inputs have the dimensions `inputs`.
    pub(crate) fn of(graph: Graph<'_>, inputs: &[(&str, &[u64])]) -> Self {
        let context = Context::new(Analysis::Shapes);
        let values = Scope::of(graph, inputs, &context).into_values();
        Self { kinds: values.map(|(name, value)| (name.to_owned(), value.kind)).collect() }
    }

    /// What the value is.
    pub fn kind(&self, value: &str) -> &Kind {
        self.kinds.get(value).unwrap_or(&Kind::Unknown)
    }

    /// The type of the value's elements, where it is known.
    pub fn element(&self, value: &str) -> Option<ElementType> {
        self.kind(value).element().filter(|element| *element != ElementType::Other(0))
    }

    /// The value's dimensions, none for a scalar; `None` where not even their number is known.
    pub fn dims(&self, value: &str) -> Option<&[Dim]> {
        self.kind(value).dims()
    }

    /// Every value and what it is, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Kind)> {
        self.kinds.iter().map(|(name, kind)| (name.as_str(), kind))
    }
}

#[cfg(test)]
mod tests;
