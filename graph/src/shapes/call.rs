//! A node with what is known of its inputs: the argument of a rule.

use super::dims;
use super::scope::Scope;
use super::value::{Number, Value};
use crate::{Dim, ElementType, Graph, Node};

/// Result of a rule: what is known of the node's outputs, in order. The list may be shorter.
pub(crate) type Inferred = Option<Vec<Value>>;

/// Rule of an operator: infers outputs from inputs; `None` if nothing follows.
pub(crate) type Rule = fn(&Call<'_, '_>) -> Inferred;

/// A node in its scope.
pub(crate) struct Call<'c, 'a> {
    node: Node<'a>,
    scope: &'c Scope<'a, 'c>,
}

/// A list of integers from an attribute or an input.
pub(crate) enum List {
    Absent,
    Unknown,
    Known(Vec<i64>),
}

impl<'c, 'a> Call<'c, 'a> {
    pub(crate) fn new(node: Node<'a>, scope: &'c Scope<'a, 'c>) -> Self {
        Self { node, scope }
    }

    pub(crate) fn node(&self) -> Node<'a> {
        self.node
    }

    pub(crate) fn scope(&self) -> &'c Scope<'a, 'c> {
        self.scope
    }

    pub(crate) fn domain(&self) -> &'a str {
        self.node.domain()
    }

    pub(crate) fn operator(&self) -> &'a str {
        self.node.op_type()
    }

    pub(crate) fn input_count(&self) -> usize {
        self.node.inputs().len()
    }

    pub(crate) fn output_count(&self) -> usize {
        self.node.outputs().len()
    }

    /// True if the node has this input.
    pub(crate) fn has_input(&self, input: usize) -> bool {
        self.node.inputs().get(input).is_some_and(|name| !name.is_empty())
    }

    /// Knowledge of an input; nothing if it is left out.
    pub(crate) fn input(&self, input: usize) -> &'c Value {
        self.node.inputs().get(input).map_or(&Value::UNKNOWN, |name| self.scope.value(name))
    }

    pub(crate) fn dims(&self, input: usize) -> Option<&'c [Dim]> {
        self.input(input).dims()
    }

    pub(crate) fn element(&self, input: usize) -> ElementType {
        self.input(input).element()
    }

    pub(crate) fn numbers(&self, input: usize) -> Option<&'c [Number]> {
        self.input(input).numbers()
    }

    /// Elements of an input that is a constant of floats.
    pub(crate) fn floats(&self, input: usize) -> Option<Vec<f32>> {
        let tensor = self.scope.constant(self.node.inputs().get(input)?)?;
        let few = !tensor.is_external() && tensor.count().ok()? <= super::value::NUMBERS_MAX as u64;
        Some(few.then(|| tensor.as_f32().ok()).flatten()?.into_owned())
    }

    /// True if the node has an attribute of this name, of any type.
    pub(crate) fn has_attribute(&self, attribute: &str) -> bool {
        self.node.attributes().any(|name| name == attribute)
    }

    pub(crate) fn int(&self, attribute: &str) -> Option<i64> {
        self.node.int(attribute).ok().flatten()
    }

    pub(crate) fn ints(&self, attribute: &str) -> Option<&'a [i64]> {
        self.node.ints(attribute).ok().flatten()
    }

    pub(crate) fn float_list(&self, attribute: &str) -> Option<&'a [f32]> {
        self.node.floats(attribute).ok().flatten()
    }

    pub(crate) fn text_count(&self, attribute: &str) -> Option<usize> {
        self.node.texts(attribute).ok().flatten().map(<[_]>::len)
    }

    pub(crate) fn text(&self, attribute: &str) -> &'a str {
        self.node.text(attribute).ok().flatten().unwrap_or_default()
    }

    /// Tensor of an attribute.
    pub(crate) fn tensor(&self, attribute: &str) -> Option<Value> {
        self.node.tensor(attribute).ok().flatten().map(Value::constant)
    }

    /// Element type that an attribute names by number.
    pub(crate) fn element_type(&self, attribute: &str) -> Option<ElementType> {
        Some(ElementType::from_code(i32::try_from(self.int(attribute)?).ok()?))
    }

    /// Axis from the attribute `axis`, for a tensor of this rank.
    pub(crate) fn axis(&self, default: i64, rank: usize) -> Option<usize> {
        dims::axis(self.int("axis").unwrap_or(default), rank)
    }

    /// A list that is an attribute in older versions of the operator and an input in later ones.
    pub(crate) fn list(&self, attribute: &str, input: usize) -> List {
        if let Some(values) = self.ints(attribute) {
            return List::Known(values.to_vec());
        }
        match (self.has_input(input), self.input(input).ints()) {
            (false, _) => List::Absent,
            (true, None) => List::Unknown,
            (true, Some(values)) => List::Known(values),
        }
    }

    /// Infers a subgraph of the node; returns what is known of its outputs.
    pub(crate) fn subgraph_outputs(&self, attribute: &str) -> Option<Vec<Value>> {
        let graph: Graph<'a> = self.node.graph(attribute).ok().flatten()?;
        Some(self.scope.inside(graph, Vec::new()).outputs())
    }
}
