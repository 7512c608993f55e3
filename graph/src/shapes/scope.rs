//! The values of a graph, found node by node.

use std::cell::Cell;
use std::collections::HashMap;

use super::call::Call;
use super::table;
use super::value::{ANY, Value};
use crate::{Dim, Graph, Kind, Node, TensorView, ValueInfo, constant};

/// Bytes that all that is found may take; real models need far less than one megabyte.
const ROOM_BYTES: usize = 64 << 20;

/// What is left of the memory for what is found.
pub(super) struct Room(Cell<usize>);

impl Default for Room {
    fn default() -> Self {
        Self(Cell::new(ROOM_BYTES))
    }
}

impl Room {
    /// The value, or nothing known of it where the memory is used up.
    fn take(&self, value: Value) -> Value {
        match self.0.get().checked_sub(value.cost()) {
            Some(left) => {
                self.0.set(left);
                value
            }
            None => Value::UNKNOWN,
        }
    }
}

/// What is known of the values of a graph.
pub(super) struct Scope<'a, 's> {
    graph: Graph<'a>,
    values: HashMap<&'a str, Value>,
    constants: HashMap<&'a str, TensorView<'a>>,
    /// The graph around this one.
    outer: Option<&'s Scope<'a, 's>>,
    /// The sizes that symbols stand for, where the inputs' dimensions are given.
    sizes: HashMap<String, u64>,
    room: &'s Room,
}

impl<'a, 's> Scope<'a, 's> {
    /// Finds the values of a model's graph whose inputs have the dimensions `inputs`.
    pub(super) fn of(graph: Graph<'a>, inputs: &[(&str, &[u64])], room: &'s Room) -> Self {
        let mut scope = Self {
            graph,
            values: HashMap::new(),
            constants: HashMap::new(),
            outer: None,
            sizes: HashMap::new(),
            room,
        };
        scope.bind(inputs);
        scope.fill(inputs);
        scope
    }

    /// Finds the values of a graph inside a node of this one.
    pub(super) fn inside<'i>(&'i self, graph: Graph<'a>) -> Scope<'a, 'i>
    where
        's: 'i,
    {
        let mut scope = Scope {
            graph,
            values: HashMap::new(),
            constants: HashMap::new(),
            outer: Some(self),
            sizes: self.sizes.clone(),
            room: self.room,
        };
        scope.fill(&[]);
        scope
    }

    /// What is known of the value of this name, here or around.
    pub(super) fn value(&self, name: &str) -> &Value {
        if name.is_empty() {
            return &Value::UNKNOWN;
        }
        let outer = || self.outer.map_or(&Value::UNKNOWN, |outer| outer.value(name));
        self.values.get(name).unwrap_or_else(outer)
    }

    /// The constant of this name, here or around.
    pub(super) fn constant(&self, name: &str) -> Option<TensorView<'a>> {
        let outer = || self.outer.and_then(|outer| outer.constant(name));
        self.constants.get(name).copied().or_else(outer)
    }

    /// What is known of the graph's outputs.
    pub(super) fn outputs(&self) -> Vec<Value> {
        let outputs = self.graph.proto().output.iter();
        outputs.map(|output| self.value(&output.name).clone()).collect()
    }

    pub(super) fn into_values(self) -> impl Iterator<Item = (&'a str, Value)> {
        self.values.into_iter()
    }

    /// Lets symbols of the inputs stand for the sizes that are given.
    fn bind(&mut self, inputs: &[(&str, &[u64])]) {
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

    fn fill(&mut self, inputs: &[(&str, &[u64])]) {
        let proto = self.graph.proto();
        for input in &proto.input {
            let kind = ValueInfo::from_proto(input).kind;
            let value = match inputs.iter().find(|given| given.0 == input.name) {
                Some((_, sizes)) => {
                    let dims = sizes.iter().copied().map(Dim::Fixed).collect();
                    Value::tensor(kind.element().unwrap_or(ANY), Some(dims))
                }
                None => Value::of(self.bound(kind)),
            };
            self.values.insert(&input.name, self.room.take(value));
        }
        for tensor in self.graph.initializers() {
            self.constants.insert(tensor.name(), tensor);
            self.values.insert(tensor.name(), self.room.take(Value::constant(tensor)));
        }
        let declared = self.declared();
        for node in self.graph.nodes() {
            self.visit(node, &declared);
        }
    }

    /// What the model says of values that nodes make.
    fn declared(&self) -> HashMap<&'a str, Kind> {
        let proto = self.graph.proto();
        let infos = proto.value_info.iter().chain(&proto.output);
        let kind = |info| self.bound(ValueInfo::from_proto(info).kind);
        infos.map(|info| (info.name.as_str(), kind(info))).collect()
    }

    fn visit(&mut self, node: Node<'a>, declared: &HashMap<&'a str, Kind>) {
        if let Some(tensor) = constant::tensor_of(node) {
            self.constants.insert(tensor.name(), tensor);
        }
        let rule = table::rule(node.domain(), node.op_type());
        let made = rule.and_then(|rule| rule(&Call::new(node, self))).unwrap_or_default();
        let mut made = made.into_iter();
        for name in node.outputs() {
            let value = made.next().unwrap_or(Value::UNKNOWN);
            if !name.is_empty() {
                let value = refined(value, declared.get(name.as_str()));
                self.values.insert(name, self.room.take(value));
            }
        }
    }

    /// The kind with sizes in the place of the symbols that stand for them.
    fn bound(&self, mut kind: Kind) -> Kind {
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
