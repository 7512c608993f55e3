//! A compiled graph: values have slots, nodes have operators.

use super::operator::{CompileError, Inputs, NodeContext, Operator, find, supported_names};
use super::pass::Pass;
use super::value::Value;
use super::{initial, roles, trained_output};
use crate::error::TrainError;
use crate::layout::{EntryKind, Layout};
use skysail_graph::{Graph, Kind, Model, Node, TensorView, ValueInfo};
use std::collections::{HashMap, HashSet};

/// Index of a value.
pub(crate) type Slot = usize;

/// A compiled graph, reduced to the nodes of the trained output.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Input for the rows of a batch.
    pub(crate) input: ValueInfo,
    /// Layout of the parameters.
    pub(crate) layout: Layout,
    /// Slots of the parameters.
    pub(crate) parameters: Vec<Slot>,
    /// First consumer of each parameter, as an index of a step.
    pub(crate) first_consumers: Vec<usize>,
    constants: Vec<(Slot, Value)>,
    input_slot: Slot,
    steps: Vec<Step>,
    output: Slot,
    logits: Slot,
    slots: usize,
}

/// A compiled node.
#[derive(Debug)]
pub(crate) struct Step {
    /// Name of the node, for messages.
    pub(crate) name: String,
    kind: String,
    operator: Box<dyn Operator>,
    /// Slots of the inputs.
    pub(crate) inputs: Vec<Option<Slot>>,
    outputs: Vec<Option<Slot>>,
    /// Slots that are not used after this step.
    last_uses: Vec<Slot>,
}

/// Returns the values of the parameters that a step consumes first; the other inputs are passed to
/// it.
pub(crate) type Parameters<'a> = dyn FnMut(usize, &Inputs) -> Vec<(Slot, Value)> + 'a;

/// Value at which a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunTarget {
    /// The trained output.
    Output,
    /// The input of the final softmax, if there is one.
    Logits,
}

impl Plan {
    /// Compiles the graph of `model`.
    pub(crate) fn of(model: &Model) -> Result<Self, TrainError> {
        let graph = model.graph();
        let inputs = graph.inputs();
        let [input] = &inputs[..] else {
            let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
            let problem = format!(
                "the model has {} inputs {names:?}, but the trainer supports one",
                names.len()
            );
            return Err(TrainError::Data(problem));
        };
        let output = trained_output(model)
            .ok_or_else(|| TrainError::Data("the model has no output to train".to_owned()))?;
        PlanBuilder::new(graph, model.opset("").unwrap_or(1), input).finish(&output.name)
    }

    /// Runs the graph with these values of its parameters.
    pub(crate) fn run(
        &self,
        parameters: &mut Parameters<'_>,
        input: Value,
        target: RunTarget,
        pass: &mut Pass,
        seen: &mut dyn FnMut(&Step, &Value),
    ) -> Result<Value, TrainError> {
        let mut values: Vec<Option<Value>> = vec![None; self.slots];
        for (slot, value) in &self.constants {
            values[*slot] = Some(value.clone());
        }
        values[self.input_slot] = Some(input);
        let wanted = if target == RunTarget::Output { self.output } else { self.logits };
        for (index, step) in self.steps.iter().enumerate() {
            if values[wanted].is_some() {
                break;
            }
            let mut taken =
                Inputs(step.inputs.iter().map(|slot| values[(*slot)?].clone()).collect());
            for (slot, value) in parameters(index, &taken) {
                let pairs = step.inputs.iter().zip(&mut taken.0);
                pairs.filter(|(input, _)| **input == Some(slot)).for_each(|(_, input_value)| {
                    *input_value = Some(value.clone());
                });
                values[slot] = Some(value);
            }
            for slot in step.last_uses.iter().filter(|slot| **slot != wanted) {
                values[*slot] = None;
            }
            let result = step.operator.run(&taken, pass).map_err(|problem| step.error(&problem))?;
            for (slot, value) in step.outputs.iter().zip(result) {
                seen(step, &value);
                if let Some(slot) = slot {
                    values[*slot] = Some(value);
                }
            }
        }
        values[wanted].take().ok_or_else(|| {
            TrainError::Data("the trained output does not depend on the input".to_owned())
        })
    }
}

impl Step {
    fn error(&self, problem: &str) -> TrainError {
        TrainError::Data(format!("node '{}': {} {problem}", self.name, self.kind))
    }
}

/// Builder of a plan.
struct PlanBuilder<'a> {
    graph: Graph<'a>,
    opset: i64,
    input: &'a ValueInfo,
    slots: HashMap<&'a str, Slot>,
    entries: HashMap<&'a str, usize>,
    layout: Layout,
    parameters: Vec<Slot>,
    constants: Vec<(Slot, Value)>,
}

impl<'a> PlanBuilder<'a> {
    fn new(graph: Graph<'a>, opset: i64, input: &'a ValueInfo) -> Self {
        Self {
            graph,
            opset,
            input,
            slots: HashMap::new(),
            entries: HashMap::new(),
            layout: Layout::default(),
            parameters: Vec::new(),
            constants: Vec::new(),
        }
    }

    fn slot(&mut self, name: &'a str) -> Slot {
        let next = self.slots.len();
        *self.slots.entry(name).or_insert(next)
    }

    fn finish(mut self, output: &str) -> Result<Plan, TrainError> {
        let graph = self.graph;
        let nodes = needed(graph, output);
        let input_slot = self.slot(&self.input.name);
        self.add_constants(&nodes)?;
        let mut steps = Vec::with_capacity(nodes.len());
        for node in &nodes {
            if self.is_parameter(node) {
                continue;
            }
            steps.push(self.step(*node)?);
        }
        let missing = || TrainError::Data(format!("no node produces the output '{output}'"));
        let output = *self.slots.get(output).ok_or_else(missing)?;
        let logits = logits(&steps, output);
        let slots = self.slots.len();
        mark_last_uses(&mut steps, slots);
        let consumer = |slot: &Slot| {
            steps.iter().position(|step| step.inputs.contains(&Some(*slot))).unwrap_or(0)
        };
        let first_consumers = self.parameters.iter().map(consumer).collect();
        Ok(Plan {
            input: self.input.clone(),
            layout: self.layout,
            parameters: self.parameters,
            first_consumers,
            constants: self.constants,
            input_slot,
            steps,
            output,
            logits,
            slots,
        })
    }

    /// Returns true for a `Constant` node whose value is trained.
    fn is_parameter(&self, node: &Node<'a>) -> bool {
        node.op_type() == "Constant"
            && node.outputs().first().is_some_and(|name| self.entries.contains_key(name.as_str()))
    }

    /// Finds the parameters and the constants among the inputs of the nodes, in the order of nodes.
    fn add_constants(&mut self, nodes: &[Node<'a>]) -> Result<(), TrainError> {
        let roles = roles::of(self.graph);
        let tensors = constants(self.graph);
        let mut seen = HashSet::new();
        for name in nodes.iter().flat_map(|node| node.inputs()) {
            let Some(tensor) = tensors.get(name.as_str()) else { continue };
            if !seen.insert(name.as_str()) {
                continue;
            }
            self.add_constant(name, tensor, roles.get(name.as_str()).copied())?;
        }
        Ok(())
    }

    fn add_constant(
        &mut self,
        name: &'a str,
        tensor: &TensorView<'a>,
        role: Option<EntryKind>,
    ) -> Result<(), TrainError> {
        let Some(value) = initial::value(tensor)? else { return Ok(()) };
        let slot = self.slot(name);
        let shape = value.dims();
        match role.filter(|role| roles::is_trained(*role, &shape)) {
            Some(kind) if matches!(value, Value::Floats(_)) => {
                self.entries.insert(name, self.layout.entries().len());
                self.layout.push(name, &shape, kind);
                self.parameters.push(slot);
            }
            _ => self.constants.push((slot, value)),
        }
        Ok(())
    }

    fn step(&mut self, node: Node<'a>) -> Result<Step, TrainError> {
        let unnamed = node.outputs().first().map_or(node.op_type(), String::as_str);
        let name = if node.name().is_empty() { unnamed } else { node.name() };
        let unsupported = |problem: String| TrainError::Unsupported {
            node: name.to_owned(),
            operator: node.op_type().to_owned(),
            problem,
            supported: supported_names(),
        };
        let compile = find(node.domain(), node.op_type()).ok_or_else(|| {
            let of = if node.domain().is_empty() { "ONNX" } else { node.domain() };
            unsupported(format!("of {of} is not supported"))
        })?;
        let entry = |input: &String| self.entries.get(input.as_str()).copied();
        let entries = node.inputs().iter().map(entry).collect();
        let context = NodeContext { node, opset: self.opset, index: node.index(), entries };
        let operator = compile(&context).map_err(|error| match error {
            CompileError::Graph(error) => TrainError::Graph(error),
            CompileError::Unsupported(problem) => unsupported(problem),
        })?;
        let inputs = node.inputs().iter().map(|name| self.slot_if_named(name)).collect();
        let outputs = node.outputs().iter().map(|name| self.slot_if_named(name)).collect();
        let (name, kind) = (name.to_owned(), node.op_type().to_owned());
        Ok(Step { name, kind, operator, inputs, outputs, last_uses: Vec::new() })
    }

    fn slot_if_named(&mut self, name: &'a str) -> Option<Slot> {
        (!name.is_empty()).then(|| self.slot(name))
    }
}

/// Constant tensors of a graph by name: initializers, and outputs of `Constant` nodes.
fn constants(graph: Graph<'_>) -> HashMap<&str, TensorView<'_>> {
    let nodes = graph.nodes().filter(|node| node.op_type() == "Constant");
    let names = nodes.filter_map(|node| node.outputs().first());
    let result = names.filter_map(|name| Some((name.as_str(), graph.constant(name)?)));
    let initial = graph.initializers().map(|tensor| (tensor.name(), tensor));
    result.chain(initial).collect()
}

/// Nodes that `output` depends on, in the order of the graph.
fn needed<'a>(graph: Graph<'a>, output: &str) -> Vec<Node<'a>> {
    let mut wanted: HashSet<&str> = HashSet::from([output]);
    let nodes: Vec<Node<'a>> = graph.nodes().collect();
    let mut kept: Vec<Node<'a>> = Vec::new();
    for node in nodes.into_iter().rev() {
        if node.outputs().iter().any(|name| wanted.contains(name.as_str())) {
            wanted.extend(node.inputs().iter().map(String::as_str));
            kept.push(node);
        }
    }
    kept.reverse();
    kept
}

/// Slot of the final softmax's input, or of the output if there is none.
fn logits(steps: &[Step], output: Slot) -> Slot {
    let producer = steps.iter().find(|step| step.outputs.first() == Some(&Some(output)));
    let softmax = producer.filter(|step| matches!(step.kind.as_str(), "Softmax" | "LogSoftmax"));
    softmax.and_then(|step| step.inputs.first().copied().flatten()).unwrap_or(output)
}

/// Marks for each value the last step that uses it.
fn mark_last_uses(steps: &mut [Step], slots: usize) {
    let mut is_used_later = vec![false; slots];
    for step in steps.iter_mut().rev() {
        for slot in step.inputs.iter().flatten() {
            if !std::mem::replace(&mut is_used_later[*slot], true) {
                step.last_uses.push(*slot);
            }
        }
    }
}

/// Checks that rows of these dimensions fit the input.
pub(crate) fn check_shape(input: &ValueInfo, shape: &[usize]) -> Result<(), TrainError> {
    let Kind::Tensor { dims: Some(dims), .. } = &input.kind else { return Ok(()) };
    let fits = |(dim, size): (&skysail_graph::Dim, &usize)| match dim {
        skysail_graph::Dim::Fixed(fixed) => *fixed == *size as u64,
        _ => true,
    };
    // The number of rows is that of the batch, whatever the file declares.
    let fits = dims.len() == shape.len() && dims.iter().zip(shape).skip(1).all(fits);
    match fits {
        true => Ok(()),
        false => Err(TrainError::Data(format!("the model requires {input}, not {shape:?}"))),
    }
}
