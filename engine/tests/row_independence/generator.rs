//! Generates a random graph, with the shapes of its values so far.

use crate::proto::{self, Side};
use crate::templates;
use onnx_protobuf::{
    AttributeProto, FunctionProto, GraphProto, Message, ModelProto, NodeProto, OperatorSetIdProto,
    TensorProto,
};
use skysail_graph::{Dim, ElementType, Independence, Model, SplitMix64};
use std::collections::{BTreeSet, HashMap, HashSet};

/// Versions of ONNX's operators with different handling of rows.
const OPSETS: [i64; 6] = [11, 13, 17, 18, 21, 23];
/// Numbers of rows with which shapes are inferred.
const ROWS: [usize; 2] = [2, 3];
/// Domains other than that of ONNX.
const DOMAINS: [&str; 3] = ["com.microsoft", "ai.onnx.ml", "local"];

/// A value of the graph.
#[derive(Debug, Clone)]
pub(crate) struct Value {
    pub(crate) name: String,
    pub(crate) element: ElementType,
    /// Dimensions for two rows.
    pub(crate) dims: Vec<usize>,
    /// Dimension of the rows, which is larger for three rows.
    pub(crate) rows: Option<usize>,
}

/// An input of the graph.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    pub(crate) name: String,
    pub(crate) element: ElementType,
    pub(crate) sides: Vec<Side>,
    /// Sizes of all dimensions except that of the rows.
    pub(crate) rest: Vec<usize>,
}

/// A generator of one random graph.
pub(crate) struct Generator {
    random: SplitMix64,
    pub(crate) opset: i64,
    pub(crate) inputs: Vec<Input>,
    pub(crate) constants: Vec<TensorProto>,
    nodes: Vec<NodeProto>,
    functions: Vec<FunctionProto>,
    pub(crate) values: Vec<Value>,
    /// Values whose rows depend on each other.
    mixed: HashSet<String>,
    count: usize,
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = SplitMix64::new(seed);
        random.next_u64();
        let mut generator = Self {
            random,
            opset: 17,
            inputs: Vec::new(),
            constants: Vec::new(),
            nodes: Vec::new(),
            functions: Vec::new(),
            values: Vec::new(),
            mixed: HashSet::new(),
            count: 0,
        };
        generator.opset = generator.pick(&OPSETS);
        for _ in 0..=generator.below(3) {
            generator.add_input();
        }
        generator
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.random.next_u64() >> 33) as usize % end.max(1)
    }

    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// A random size of a dimension.
    pub(crate) fn side(&mut self) -> usize {
        self.pick(&[1, 2, 2, 3, 3, 4])
    }

    fn add_input(&mut self) {
        use ElementType::{Bool, Float32, Int8, Int32, Int64, String, UInt8};
        let element = self.pick(&[
            Float32, Float32, Float32, Float32, Float32, Float32, Int64, Int64, Int32, UInt8, Int8,
            Bool, String,
        ]);
        let rank = self.pick(&[1, 2, 2, 2, 3, 3, 3, 4, 4]);
        let first = if self.chance(70) { Side::Named("n".into()) } else { Side::Open };
        let (mut sides, mut rest) = (vec![first], Vec::new());
        for _ in 1..rank {
            let size = if rank == 4 { self.pick(&[1, 2, 4, 4]) } else { self.side() };
            rest.push(size);
            sides.push(match self.below(10) {
                0 => Side::Open,
                1 => Side::Named(format!("s{size}")),
                _ => Side::Fixed(size),
            });
        }
        let name = format!("x{}", self.inputs.len());
        let dims = |rows| [vec![rows], rest.clone()].concat();
        let dims = dims(ROWS[0]);
        self.values.push(Value { name: name.clone(), element, dims, rows: Some(0) });
        self.inputs.push(Input { name, element, sides, rest });
    }

    fn fresh(&mut self) -> String {
        self.count += 1;
        format!("v{}", self.count)
    }

    /// Fresh names of values.
    pub(crate) fn names<const N: usize>(&mut self) -> [String; N] {
        std::array::from_fn(|_| self.fresh())
    }

    pub(crate) fn constant(
        &mut self,
        element: ElementType,
        dims: &[usize],
        bytes: Vec<u8>,
    ) -> String {
        let name = self.fresh();
        self.constants.push(proto::constant(&name, element, dims, bytes));
        name
    }

    pub(crate) fn add_function(&mut self, function: FunctionProto) {
        if !self.functions.iter().any(|other| other.name == function.name) {
            self.functions.push(function);
        }
    }

    /// Adds a node with one output.
    pub(crate) fn one(
        &mut self,
        operator: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) -> String {
        let name = self.fresh();
        self.nodes.push(proto::node("", operator, inputs, &[&name], attributes));
        name
    }

    /// Adds a node of any domain with this many outputs.
    pub(crate) fn many(
        &mut self,
        domain: &str,
        operator: &str,
        inputs: &[&str],
        outputs: usize,
        attributes: Vec<AttributeProto>,
    ) -> Vec<String> {
        let names: Vec<String> = (0..outputs).map(|_| self.fresh()).collect();
        let outputs: Vec<&str> = names.iter().map(String::as_str).collect();
        self.nodes.push(proto::node(domain, operator, inputs, &outputs, attributes));
        names
    }

    /// Extends the graph by this many templates.
    pub(crate) fn extend(&mut self, steps: usize) {
        for _ in 0..steps {
            for _ in 0..12 {
                let before = (self.nodes.len(), self.constants.len(), self.functions.len());
                if templates::any(self).is_some()
                    && self.nodes.len() > before.0
                    && self.add_values(before.0)
                {
                    break;
                }
                self.nodes.truncate(before.0);
                self.constants.truncate(before.1);
                self.functions.truncate(before.2);
            }
        }
    }

    /// Adds the outputs of the nodes from `first` on to the values. Returns false if none has a known
    /// shape.
    fn add_values(&mut self, first: usize) -> bool {
        let names: Vec<String> =
            self.nodes[first..].iter().flat_map(|node| node.output.clone()).collect();
        let Ok(model) = Model::from_bytes(&self.bytes(&names)) else { return false };
        let kinds = ROWS.map(|rows| {
            let given: Vec<(&str, Vec<u64>)> = self
                .inputs
                .iter()
                .map(|input| {
                    let rest = input.rest.iter().map(|size| *size as u64);
                    (input.name.as_str(), std::iter::once(rows as u64).chain(rest).collect())
                })
                .collect();
            let given: Vec<(&str, &[u64])> =
                given.iter().map(|(name, dims)| (*name, dims.as_slice())).collect();
            model.graph().shapes_for(&given)
        });
        let mut taken = 0;
        for name in names {
            let Some(element) = kinds[0].element(&name) else { continue };
            let sizes = |dims: Option<&[Dim]>| -> Option<Vec<usize>> {
                let size = |dim: &Dim| match dim {
                    Dim::Fixed(size) => usize::try_from(*size).ok(),
                    _ => None,
                };
                dims?.iter().map(size).collect()
            };
            let [Some(dims), Some(more)] = [0, 1].map(|which| sizes(kinds[which].dims(&name)))
            else {
                continue;
            };
            if dims.len() > 5 || dims.iter().product::<usize>() > 4_000 {
                return false;
            }
            let rows = dims.iter().zip(&more).position(|(few, many)| few != many);
            if self.is_mixed(&name) {
                if self.chance(75) {
                    continue;
                }
                self.mixed.insert(name.clone());
            }
            taken += 1;
            self.values.push(Value { name, element, dims, rows });
        }
        taken > 0
    }

    /// True if the proof of independence fails for this value.
    fn is_mixed(&self, name: &str) -> bool {
        match self.model(&[name.to_owned()]).row_independence() {
            Independence::Independent => false,
            Independence::Dependent(cause) | Independence::Unknown(cause) => cause.node.is_some(),
        }
    }

    /// The model with these outputs and what they need.
    pub(crate) fn model(&self, outputs: &[String]) -> Model {
        Model::from_bytes(&self.bytes(outputs)).unwrap()
    }

    fn bytes(&self, outputs: &[String]) -> Vec<u8> {
        let nodes = self.needed(outputs);
        let used: HashSet<String> = nodes.iter().flat_map(used_names).collect();
        let inputs = self.inputs.iter().map(|input| {
            proto::info(&input.name, Some((input.element, Some(input.sides.clone()))))
        });
        let constants = self.constants.iter().filter(|tensor| used.contains(&tensor.name));
        let graph = GraphProto {
            name: "random".into(),
            input: inputs.collect(),
            output: outputs.iter().map(|name| proto::info(name, None)).collect(),
            initializer: constants.cloned().collect(),
            node: nodes,
            ..GraphProto::default()
        };
        let opset = |domain: &str, version| OperatorSetIdProto {
            domain: domain.into(),
            version,
            ..OperatorSetIdProto::default()
        };
        let own =
            DOMAINS.iter().map(|domain| opset(domain, if *domain == "ai.onnx.ml" { 3 } else { 1 }));
        let model = ModelProto {
            ir_version: if self.opset < 13 { 7 } else { 8 },
            opset_import: std::iter::once(opset("", self.opset)).chain(own).collect(),
            functions: self.functions.clone(),
            graph: Some(graph).into(),
            ..ModelProto::default()
        };
        model.write_to_bytes().unwrap()
    }

    /// The nodes that these values need, in order.
    pub(crate) fn needed(&self, outputs: &[String]) -> Vec<NodeProto> {
        let mut wanted: HashSet<String> = outputs.iter().cloned().collect();
        let mut nodes = Vec::new();
        for node in self.nodes.iter().rev() {
            if node.output.iter().any(|name| wanted.contains(name)) {
                wanted.extend(used_names(node));
                nodes.push(node.clone());
            }
        }
        nodes.reverse();
        nodes
    }

    /// The operators that these values need, with their domains.
    pub(crate) fn operators(&self, outputs: &[String]) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for node in self.needed(outputs) {
            collect_operators(&node, &mut found);
        }
        found
    }

    /// Chooses the outputs of the graph, mostly values that are proven independent.
    pub(crate) fn outputs(&mut self) -> Vec<String> {
        let made: Vec<String> = self
            .values
            .iter()
            .map(|value| value.name.clone())
            .filter(|name| self.inputs.iter().all(|input| input.name != *name))
            .collect();
        if made.is_empty() {
            return made;
        }
        if self.chance(75) {
            let proven: Vec<String> = made
                .iter()
                .filter(|name| {
                    let model = self.model(std::slice::from_ref(*name));
                    model.row_independence() == Independence::Independent
                })
                .cloned()
                .collect();
            if !proven.is_empty() {
                return proven.into_iter().rev().take(4).collect();
            }
        }
        let last = made.len().saturating_sub(3);
        let place = last + self.below(made.len() - last);
        vec![made[place].clone()]
    }
}

/// Names of a node's inputs, including those of its subgraphs.
pub(crate) fn used_names(node: &NodeProto) -> Vec<String> {
    let mut names = node.input.clone();
    for graph in node.attribute.iter().filter_map(|attribute| attribute.g.as_ref()) {
        names.extend(graph.node.iter().flat_map(used_names));
        names.extend(graph.output.iter().map(|output| output.name.clone()));
    }
    names
}

fn collect_operators(node: &NodeProto, found: &mut BTreeSet<String>) {
    let name = match node.domain.as_str() {
        "" => node.op_type.clone(),
        domain => format!("{domain}.{}", node.op_type),
    };
    found.insert(name);
    for graph in node.attribute.iter().filter_map(|attribute| attribute.g.as_ref()) {
        graph.node.iter().for_each(|node| collect_operators(node, found));
    }
}

/// Number of uses by operator.
pub(crate) type Counts = HashMap<String, usize>;
