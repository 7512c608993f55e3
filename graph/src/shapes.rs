//! Static shape inference: the type and shape of each value of a graph, without a run.
//!
//! A rule for each family of operators, after ONNX's `Operators.md`, infers a node's outputs from
//! its inputs. Small tensors of integers are propagated by value, since nodes compute shapes too.
//!
//! Nothing is an error: what cannot be inferred is unknown. Work and memory are in proportion to
//! the model, whatever it says.

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

/// Types and shapes of a graph's values, without those inside subgraphs.
#[derive(Debug, Clone, Default)]
pub struct Shapes {
    kinds: HashMap<String, Kind>,
}

impl Shapes {
    /// Infers the kinds of the values of `graph`, whose inputs have the dimensions `inputs`.
    pub(crate) fn of(graph: Graph<'_>, inputs: &[(&str, &[u64])]) -> Self {
        let context = Context::new(Analysis::Shapes);
        let values = Scope::of(graph, inputs, &context).into_values();
        Self { kinds: values.map(|(name, value)| (name.to_owned(), value.kind)).collect() }
    }

    /// Kind of the value.
    pub fn kind(&self, value: &str) -> &Kind {
        self.kinds.get(value).unwrap_or(&Kind::Unknown)
    }

    /// Type of the value's elements, if known.
    pub fn element(&self, value: &str) -> Option<ElementType> {
        self.kind(value).element().filter(|element| *element != ElementType::Other(0))
    }

    /// Dimensions of the value, none for a scalar; `None` if even their number is unknown.
    pub fn dims(&self, value: &str) -> Option<&[Dim]> {
        self.kind(value).dims()
    }

    /// Lists all values with their kinds, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Kind)> {
        self.kinds.iter().map(|(name, kind)| (name.as_str(), kind))
    }
}

#[cfg(test)]
mod tests;
