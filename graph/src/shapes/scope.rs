//! The values of a graph, found node by node.

use super::call::Call;
use super::table;
use super::value::{ANY, Value};
use crate::{Dim, Graph, Kind, Node, TensorView, ValueInfo, constant, rows};
use std::cell::Cell;
use std::collections::{HashMap, HashSet};

/// Bytes that all that is found may take; real models need far less than one megabyte.
const MEMORY_BYTES_MAX: usize = 64 << 20;

/// Nodes that are looked at, those of loops again and again.
const STEPS_MAX: usize = 1 << 20;

/// What is followed, and how much of it.
pub(crate) struct Context {
    analysis: Analysis,
    /// What is left of the memory for what is found.
    memory_left: Cell<usize>,
    /// Nodes, and other parts of graphs inside them, that may still be looked at.
    steps: Cell<usize>,
    fresh: Cell<u32>,
    /// Whether sizes hold only where no input's dimension is zero.
    excludes_zero: Cell<bool>,
    /// Of a name that no node made before, and nothing around holds.
    unresolved: Value,
}

/// What is followed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Analysis {
    /// Kinds of values; what the model says of them completes what is found.
    Shapes,
    /// Kinds that are proven, and what values depend on where rows share a run. The operators of
    /// ONNX are of this version.
    Rows { opset: i64 },
}

impl Context {
    pub(crate) fn new(analysis: Analysis) -> Self {
        let (memory_left, steps) = (Cell::new(MEMORY_BYTES_MAX), Cell::new(STEPS_MAX));
        let unresolved = match analysis {
            Analysis::Shapes => Value::UNKNOWN,
            Analysis::Rows { .. } => rows::unresolved(),
        };
        let (fresh, excludes_zero) = (Cell::new(0), Cell::new(false));
        Self { analysis, memory_left, steps, fresh, excludes_zero, unresolved }
    }

    /// The version of ONNX's operators where rows are followed.
    pub(crate) fn opset(&self) -> Option<i64> {
        match self.analysis {
            Analysis::Shapes => None,
            Analysis::Rows { opset } => Some(opset),
        }
    }

    /// Counts a node that is looked at; false where there were too many.
    pub(crate) fn step(&self) -> bool {
        self.steps(1)
    }

    /// Counts as many parts of a graph that are looked at.
    pub(crate) fn steps(&self, count: usize) -> bool {
        let left = self.steps.get().checked_sub(count);
        left.inspect(|left| self.steps.set(*left)).is_some()
    }

    /// Notes that a size is what it is only where no dimension is zero: `Reshape` takes a zero for
    /// another dimension.
    pub(crate) fn exclude_zero(&self) {
        self.excludes_zero.set(true);
    }

    /// Whether sizes hold only where no input's dimension is zero.
    pub(crate) fn excludes_zero(&self) -> bool {
        self.excludes_zero.get()
    }

    /// A number that was not given before.
    pub(crate) fn fresh(&self) -> u32 {
        self.fresh.set(self.fresh.get() + 1);
        self.fresh.get()
    }

    /// The value, or nothing known of it where the memory is used up.
    fn charge(&self, value: Value) -> Value {
        match self.memory_left.get().checked_sub(value.cost()) {
            Some(left) => {
                self.memory_left.set(left);
                value
            }
            None => match self.analysis {
                Analysis::Shapes => Value::UNKNOWN,
                Analysis::Rows { .. } => rows::too_large(),
            },
        }
    }
}

/// What is known of the values of a graph.
pub(crate) struct Scope<'a, 's> {
    graph: Graph<'a>,
    values: HashMap<&'a str, Value>,
    /// The names of what its nodes make, sooner or later.
    produced: HashSet<&'a str>,
    constants: HashMap<&'a str, TensorView<'a>>,
    /// The graph around this one.
    outer: Option<&'s Scope<'a, 's>>,
    /// The sizes that symbols stand for, where the inputs' dimensions are given.
    sizes: HashMap<String, u64>,
    context: &'s Context,
}

impl<'a, 's> Scope<'a, 's> {
    /// Finds the values of a model's graph whose inputs have the dimensions `inputs`.
    pub(crate) fn of(graph: Graph<'a>, inputs: &[(&str, &[u64])], context: &'s Context) -> Self {
        let mut scope = Self::empty(graph, context);
        scope.bind_sizes(inputs);
        for input in &graph.proto().input {
            let kind = ValueInfo::from_proto(input).kind;
            let value = match inputs.iter().find(|given| given.0 == input.name) {
                Some((_, sizes)) => {
                    let dims = sizes.iter().copied().map(Dim::Fixed).collect();
                    Value::tensor(kind.element().unwrap_or(ANY), Some(dims))
                }
                None => Value::of(scope.bind_symbols(kind)),
            };
            scope.set(&input.name, value);
        }
        scope.infer();
        scope
    }

    /// Finds the values of a model's graph whose inputs are `given`.
    pub(crate) fn with_inputs(
        graph: Graph<'a>,
        given: Vec<(&'a str, Value)>,
        context: &'s Context,
    ) -> Self {
        let mut scope = Self::empty(graph, context);
        given.into_iter().for_each(|(name, value)| scope.set(name, value));
        scope.infer();
        scope
    }

    fn empty(graph: Graph<'a>, context: &'s Context) -> Self {
        Self {
            graph,
            values: HashMap::new(),
            produced: graph.nodes().flat_map(|node| node.outputs()).map(String::as_str).collect(),
            constants: HashMap::new(),
            outer: None,
            sizes: HashMap::new(),
            context,
        }
    }

    /// Finds the values of a graph inside a node of this one, whose inputs are `given` in order.
    pub(crate) fn inside<'i>(&'i self, graph: Graph<'a>, given: Vec<Value>) -> Scope<'a, 'i>
    where
        's: 'i,
    {
        let mut scope = Scope {
            outer: Some(self),
            sizes: self.sizes.clone(),
            ..Scope::empty(graph, self.context)
        };
        let mut given = given.into_iter();
        for input in &graph.proto().input {
            let kind = || Value::of(scope.bind_symbols(ValueInfo::from_proto(input).kind));
            let value = given.next().unwrap_or_else(kind);
            scope.set(&input.name, value);
        }
        scope.infer();
        scope
    }

    pub(crate) fn context(&self) -> &'s Context {
        self.context
    }

    /// What is known of the value of this name, here or around.
    pub(crate) fn value(&self, name: &str) -> &Value {
        if name.is_empty() {
            return &Value::UNKNOWN;
        }
        match (self.values.get(name), self.outer) {
            (Some(value), _) => value,
            // A node that comes later makes it: it is not that of the same name outside.
            (None, Some(outer)) if !self.produced.contains(name) => outer.value(name),
            _ => &self.context.unresolved,
        }
    }

    /// The constant of this name, here or around.
    pub(crate) fn constant(&self, name: &str) -> Option<TensorView<'a>> {
        let is_own = self.values.contains_key(name) || self.produced.contains(name);
        let outer = || self.outer.filter(|_| !is_own)?.constant(name);
        self.constants.get(name).copied().or_else(outer)
    }

    /// What is known of the graph's outputs.
    pub(crate) fn outputs(&self) -> Vec<Value> {
        let outputs = self.graph.proto().output.iter();
        outputs.map(|output| self.value(&output.name).clone()).collect()
    }

    pub(crate) fn into_values(self) -> impl Iterator<Item = (&'a str, Value)> {
        self.values.into_iter()
    }

    fn set(&mut self, name: &'a str, value: Value) {
        self.values.insert(name, self.context.charge(value));
    }

    /// Lets symbols of the inputs stand for the sizes that are given.
    fn bind_sizes(&mut self, inputs: &[(&str, &[u64])]) {
        for info in self.graph.inputs() {
            let given = inputs.iter().find(|input| input.0 == info.name);
            let pairs = info.kind.dims().unwrap_or_default().iter();
            for (dim, size) in pairs.zip(given.map_or(&[][..], |input| input.1)) {
                if let Dim::Symbol(symbol) = dim {
                    self.sizes.entry(symbol.clone()).or_insert(*size);
                }
            }
        }
    }

    fn infer(&mut self) {
        for tensor in self.graph.initializers() {
            self.constants.insert(tensor.name(), tensor);
            self.set(tensor.name(), Value::constant(tensor));
        }
        for tensor in &self.graph.proto().sparse_initializer {
            self.set(&tensor.values.name, Value::UNKNOWN);
        }
        let declared = self.declared();
        for node in self.graph.nodes() {
            self.visit(node, &declared);
        }
    }

    /// What the model says of values that nodes make, where that is believed.
    fn declared(&self) -> HashMap<&'a str, Kind> {
        if self.context.analysis != Analysis::Shapes {
            return HashMap::new();
        }
        let proto = self.graph.proto();
        let infos = proto.value_info.iter().chain(&proto.output);
        let kind = |info| self.bind_symbols(ValueInfo::from_proto(info).kind);
        infos.map(|info| (info.name.as_str(), kind(info))).collect()
    }

    fn visit(&mut self, node: Node<'a>, declared: &HashMap<&'a str, Kind>) {
        if let Some(tensor) = constant::tensor_of(node) {
            self.constants.insert(tensor.name(), tensor);
        }
        let call = Call::new(node, self);
        let outputs = match self.context.analysis {
            Analysis::Shapes => kinds(&call),
            Analysis::Rows { .. } => rows::infer(&call),
        };
        let mut outputs = outputs.into_iter();
        for name in node.outputs() {
            let value = outputs.next().unwrap_or(Value::UNKNOWN);
            if !name.is_empty() {
                self.set(name, refined(value, declared.get(name.as_str())));
            }
        }
    }

    /// The kind with sizes in the place of the symbols that stand for them.
    fn bind_symbols(&self, mut kind: Kind) -> Kind {
        if let Kind::Tensor { dims: Some(dims), .. } = &mut kind {
            for dim in dims {
                if let Dim::Symbol(symbol) = dim
                    && let Some(size) = self.sizes.get(symbol)
                {
                    *dim = Dim::Fixed(*size);
                }
            }
        }
        kind
    }
}

/// What the operator's rule tells of the values that a node makes.
pub(crate) fn kinds(call: &Call<'_, '_>) -> Vec<Value> {
    let rule = table::rule(call.domain(), call.operator());
    rule.and_then(|rule| rule(call)).unwrap_or_default()
}

/// What is found, completed by what the model says: that may be of before a change, so it
/// only fills gaps.
fn refined(found: Value, declared: Option<&Kind>) -> Value {
    let Some(declared) = declared else { return found };
    let Kind::Tensor { element, dims } = found.kind else {
        return if found.kind == Kind::Unknown { Value::of(declared.clone()) } else { found };
    };
    let element = if element == ANY { declared.element().unwrap_or(ANY) } else { element };
    let dims = match (dims, declared.dims()) {
        (Some(found), Some(said)) if found.len() == said.len() => {
            Some(found.into_iter().zip(said).map(|(found, said)| filled(found, said)).collect())
        }
        (None, Some(said)) => Some(said.to_vec()),
        (found, _) => found,
    };
    Value { numbers: found.numbers, ..Value::of(Kind::Tensor { element, dims }) }
}

fn filled(found: Dim, said: &Dim) -> Dim {
    if found == Dim::Unknown { said.clone() } else { found }
}
