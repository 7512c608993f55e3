//! Inference of a graph's values, node by node.

use super::call::Call;
use super::table;
use super::value::{ANY, Value};
use crate::{Dim, Graph, Kind, Node, TensorView, ValueInfo, constant, rows};
use std::cell::Cell;
use std::collections::{HashMap, HashSet};

/// Memory for all results in bytes; real models need far less than one megabyte.
const MEMORY_BYTES_MAX: usize = 64 << 20;

/// Most nodes visited, those of loops counted each time.
const STEPS_MAX: usize = 1 << 20;

/// State of an analysis, with its limits.
pub(crate) struct Context {
    analysis: Analysis,
    /// Memory left for results, in bytes.
    memory_left: Cell<usize>,
    /// Visits left: nodes, and other parts of subgraphs.
    steps: Cell<usize>,
    fresh: Cell<u32>,
    /// True if sizes hold only where no input dimension is zero.
    excludes_zero: Cell<bool>,
    /// Value of a name that is not defined yet, here or around.
    unresolved: Value,
}

/// Kind of analysis.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Analysis {
    /// Types and shapes; declarations of the model complete them.
    Shapes,
    /// Proven types and shapes, and dependence on rows that share a run, for this version of ONNX's
    /// operators.
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

    /// Version of ONNX's operators, if rows are analysed.
    pub(crate) fn opset(&self) -> Option<i64> {
        match self.analysis {
            Analysis::Shapes => None,
            Analysis::Rows { opset } => Some(opset),
        }
    }

    /// Counts a visited node; false when there are too many.
    pub(crate) fn step(&self) -> bool {
        self.steps(1)
    }

    /// Counts visited parts of a graph; false when there are too many.
    pub(crate) fn steps(&self, count: usize) -> bool {
        let left = self.steps.get().checked_sub(count);
        left.inspect(|left| self.steps.set(*left)).is_some()
    }

    /// Records that sizes hold only where no dimension is zero, as `Reshape` treats a zero
    /// specially.
    pub(crate) fn exclude_zero(&self) {
        self.excludes_zero.set(true);
    }

    /// True if sizes hold only where no input dimension is zero.
    pub(crate) fn excludes_zero(&self) -> bool {
        self.excludes_zero.get()
    }

    /// Makes a unique number.
    pub(crate) fn fresh(&self) -> u32 {
        self.fresh.set(self.fresh.get() + 1);
        self.fresh.get()
    }

    /// Charges memory for a value; an unknown value if none is left.
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

/// Values of a graph and what is known of them.
pub(crate) struct Scope<'a, 's> {
    graph: Graph<'a>,
    values: HashMap<&'a str, Value>,
    /// Names of the values that its nodes produce, sooner or later.
    produced: HashSet<&'a str>,
    constants: HashMap<&'a str, TensorView<'a>>,
    /// Scope of the graph around this one.
    outer: Option<&'s Scope<'a, 's>>,
    /// Sizes of symbols, if the inputs' dimensions are given.
    sizes: HashMap<String, u64>,
    context: &'s Context,
}

impl<'a, 's> Scope<'a, 's> {
    /// Analyses a model's graph, whose inputs have the dimensions `inputs`.
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

    /// Analyses a model's graph with these inputs.
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

    /// Analyses a subgraph of a node, with these inputs in order.
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

    /// Looks up a value, here or around.
    pub(crate) fn value(&self, name: &str) -> &Value {
        if name.is_empty() {
            return &Value::UNKNOWN;
        }
        match (self.values.get(name), self.outer) {
            (Some(value), _) => value,
            // A later node defines it, so an outer value of the same name is another.
            (None, Some(outer)) if !self.produced.contains(name) => outer.value(name),
            _ => &self.context.unresolved,
        }
    }

    /// Finds a constant, here or around.
    pub(crate) fn constant(&self, name: &str) -> Option<TensorView<'a>> {
        let is_own = self.values.contains_key(name) || self.produced.contains(name);
        let outer = || self.outer.filter(|_| !is_own)?.constant(name);
        self.constants.get(name).copied().or_else(outer)
    }

    /// Values of the graph's outputs.
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

    /// Binds symbols of the inputs to given sizes.
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

    /// Declared kinds of values, if the analysis believes them.
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

    /// Replaces symbols by their sizes.
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

/// Infers the kinds of a node's outputs by the operator's rule.
pub(crate) fn kinds(call: &Call<'_, '_>) -> Vec<Value> {
    let rule = table::rule(call.domain(), call.operator());
    rule.and_then(|rule| rule(call)).unwrap_or_default()
}

/// Completes an inferred value by its declaration. Declarations may be stale, so they only fill
/// gaps.
fn refined(found: Value, declared: Option<&Kind>) -> Value {
    let Some(declared) = declared else { return found };
    let Kind::Tensor { element, dims } = found.kind else {
        return if found.kind == Kind::Unknown { Value::of(declared.clone()) } else { found };
    };
    let element = if element == ANY { declared.element().unwrap_or(ANY) } else { element };
    let dims = match (dims, declared.dims()) {
        (Some(found), Some(stated)) if found.len() == stated.len() => Some(
            found.into_iter().zip(stated).map(|(found, stated)| filled(found, stated)).collect(),
        ),
        (None, Some(stated)) => Some(stated.to_vec()),
        (found, _) => found,
    };
    Value { numbers: found.numbers, ..Value::of(Kind::Tensor { element, dims }) }
}

fn filled(found: Dim, stated: &Dim) -> Dim {
    if found == Dim::Unknown { stated.clone() } else { found }
}
