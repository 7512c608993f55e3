//! A graph made ready to run: values have numbers, nodes have operators.

use super::operator::{Call, Inputs, Operator, Refusal, find, known};
use super::pass::Pass;
use super::value::Value;
use super::{initial, learned_output, roles};
use crate::error::TrainError;
use crate::layout::{EntryKind, Layout};
use skysail_graph::{Graph, Kind, Model, Node, TensorView, ValueInfo};
use std::collections::{HashMap, HashSet};

/// The number of a value.
pub(crate) type Slot = usize;

/// A graph made ready to run, as far as the output that it learns needs it.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The input that rows of a batch are given to.
    pub(crate) input: ValueInfo,
    /// Where the parameters lie in the flat slice.
    pub(crate) layout: Layout,
    /// The values that parameters are.
    pub(crate) parameters: Vec<Slot>,
    /// The first step, in the order of the graph, that takes each parameter.
    pub(crate) first_consumers: Vec<usize>,
    constants: Vec<(Slot, Value)>,
    input_slot: Slot,
    steps: Vec<Step>,
    output: Slot,
    logits: Slot,
    slots: usize,
}

/// A node of the graph.
#[derive(Debug)]
pub(crate) struct Step {
    /// The node's name, for messages.
    pub(crate) name: String,
    kind: String,
    operator: Box<dyn Operator>,
    /// The values it takes.
    pub(crate) inputs: Vec<Option<Slot>>,
    outputs: Vec<Option<Slot>>,
    /// The values that nobody takes after it.
    dying: Vec<Slot>,
}

/// Gives the values of the parameters that a step is the first to take, beside the inputs that
/// it already has.
pub(crate) type Parameters<'a> = dyn FnMut(usize, &Inputs) -> Vec<(Slot, Value)> + 'a;

/// What a run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// The output that the graph learns.
    Output,
    /// What goes into the softmax at its end, where there is one.
    Logits,
}

impl Plan {
    /// Makes the graph of `model` ready.
    pub(crate) fn of(model: &Model) -> Result<Self, TrainError> {
        let graph = model.graph();
        let inputs = graph.inputs();
        let [input] = &inputs[..] else {
            let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
            let problem = format!("it has {} inputs {names:?}; the trainer feeds one", names.len());
            return Err(TrainError::Data(problem));
        };
        let output = learned_output(model).ok_or_else(|| {
            TrainError::Data("the model has no output, so there is nothing to learn".to_owned())
        })?;
        Making::of(graph, model.opset("").unwrap_or(1), input).finish(&output.name)
    }

    /// Runs the graph, where its parameters have the values `parameters`.
    pub(crate) fn run(
        &self,
        parameters: &mut Parameters<'_>,
        input: Value,
        until: Until,
        pass: &mut Pass,
        seen: &mut dyn FnMut(&Step, &Value),
    ) -> Result<Value, TrainError> {
        let mut values: Vec<Option<Value>> = vec![None; self.slots];
        for (slot, value) in &self.constants {
            values[*slot] = Some(value.clone());
        }
        values[self.input_slot] = Some(input);
        let wanted = if until == Until::Output { self.output } else { self.logits };
        for (index, step) in self.steps.iter().enumerate() {
            if values[wanted].is_some() {
                break;
            }
            let mut taken =
                Inputs(step.inputs.iter().map(|slot| values[(*slot)?].clone()).collect());
            for (slot, value) in parameters(index, &taken) {
                let places = step.inputs.iter().zip(&mut taken.0);
                places.filter(|(input, _)| **input == Some(slot)).for_each(|(_, place)| {
                    *place = Some(value.clone());
                });
                values[slot] = Some(value);
            }
            for slot in step.dying.iter().filter(|slot| **slot != wanted) {
                values[*slot] = None;
            }
            let made = step.operator.run(&taken, pass).map_err(|problem| step.error(&problem))?;
            for (slot, value) in step.outputs.iter().zip(made) {
                seen(step, &value);
                if let Some(slot) = slot {
                    values[*slot] = Some(value);
                }
            }
        }
        values[wanted].take().ok_or_else(|| {
            TrainError::Data(
                "the graph does not make the output that it learns from its input".to_owned(),
            )
        })
    }
}

impl Step {
    fn error(&self, problem: &str) -> TrainError {
        TrainError::Data(format!("node '{}': {} {problem}", self.name, self.kind))
    }
}

/// A plan in the making.
struct Making<'a> {
    graph: Graph<'a>,
    opset: i64,
    input: &'a ValueInfo,
    slots: HashMap<&'a str, Slot>,
    entries: HashMap<&'a str, usize>,
    layout: Layout,
    parameters: Vec<Slot>,
    constants: Vec<(Slot, Value)>,
}

impl<'a> Making<'a> {
    fn of(graph: Graph<'a>, opset: i64, input: &'a ValueInfo) -> Self {
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
        self.take_constants(&nodes)?;
        let mut steps = Vec::with_capacity(nodes.len());
        for node in &nodes {
            if self.is_parameter(node) {
                continue;
            }
            steps.push(self.step(*node)?);
        }
        let missing = || TrainError::Data(format!("nothing makes the output '{output}'"));
        let output = *self.slots.get(output).ok_or_else(missing)?;
        let logits = logits(&steps, output);
        let slots = self.slots.len();
        mark_dying(&mut steps, slots);
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

    /// Whether the node is a `Constant` whose value is learned.
    fn is_parameter(&self, node: &Node<'a>) -> bool {
        node.op_type() == "Constant"
            && node.outputs().first().is_some_and(|name| self.entries.contains_key(name.as_str()))
    }

    /// Finds the parameters and the constants among what the nodes take, in the order of nodes.
    fn take_constants(&mut self, nodes: &[Node<'a>]) -> Result<(), TrainError> {
        let roles = roles::of(self.graph);
        let tensors = constants(self.graph);
        let mut seen = HashSet::new();
        for name in nodes.iter().flat_map(|node| node.inputs()) {
            let Some(tensor) = tensors.get(name.as_str()) else { continue };
            if !seen.insert(name.as_str()) {
                continue;
            }
            self.take_constant(name, tensor, roles.get(name.as_str()).copied())?;
        }
        Ok(())
    }

    fn take_constant(
        &mut self,
        name: &'a str,
        tensor: &TensorView<'a>,
        role: Option<EntryKind>,
    ) -> Result<(), TrainError> {
        let Some(value) = initial::value(tensor)? else { return Ok(()) };
        let slot = self.slot(name);
        let shape = value.dims();
        match role.filter(|role| roles::is_learned(*role, &shape)) {
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
        let refuse = |problem: String| TrainError::Unsupported {
            node: name.to_owned(),
            operator: node.op_type().to_owned(),
            problem,
            known: known(),
        };
        let compile = find(node.domain(), node.op_type()).ok_or_else(|| {
            let of = if node.domain().is_empty() { "ONNX" } else { node.domain() };
            refuse(format!("of {of} is not supported"))
        })?;
        let entry = |input: &String| self.entries.get(input.as_str()).copied();
        let entries = node.inputs().iter().map(entry).collect();
        let call = Call { node, opset: self.opset, index: node.index(), entries };
        let operator = compile(&call).map_err(|refusal| match refusal {
            Refusal::Graph(error) => TrainError::Graph(error),
            Refusal::Unsupported(problem) => refuse(problem),
        })?;
        let inputs = node.inputs().iter().map(|name| self.slot_if_named(name)).collect();
        let outputs = node.outputs().iter().map(|name| self.slot_if_named(name)).collect();
        let (name, kind) = (name.to_owned(), node.op_type().to_owned());
        Ok(Step { name, kind, operator, inputs, outputs, dying: Vec::new() })
    }

    fn slot_if_named(&mut self, name: &'a str) -> Option<Slot> {
        (!name.is_empty()).then(|| self.slot(name))
    }
}

/// The constant tensors of a graph by name: initializers, and what `Constant` nodes make.
fn constants(graph: Graph<'_>) -> HashMap<&str, TensorView<'_>> {
    let nodes = graph.nodes().filter(|node| node.op_type() == "Constant");
    let names = nodes.filter_map(|node| node.outputs().first());
    let made = names.filter_map(|name| Some((name.as_str(), graph.constant(name)?)));
    let initial = graph.initializers().map(|tensor| (tensor.name(), tensor));
    made.chain(initial).collect()
}

/// The nodes that `output` needs, in the order of the graph.
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

/// What goes into the softmax that makes the output, or the output where none does.
fn logits(steps: &[Step], output: Slot) -> Slot {
    let producer = steps.iter().find(|step| step.outputs.first() == Some(&Some(output)));
    let softmax = producer.filter(|step| matches!(step.kind.as_str(), "Softmax" | "LogSoftmax"));
    softmax.and_then(|step| step.inputs.first().copied().flatten()).unwrap_or(output)
}

/// Notes after which step nobody takes a value any more.
fn mark_dying(steps: &mut [Step], slots: usize) {
    let mut is_taken_later = vec![false; slots];
    for step in steps.iter_mut().rev() {
        for slot in step.inputs.iter().flatten() {
            if !std::mem::replace(&mut is_taken_later[*slot], true) {
                step.dying.push(*slot);
            }
        }
    }
}

/// Whether rows of these dimensions can be given to the input.
pub(crate) fn check_shape(input: &ValueInfo, shape: &[usize]) -> Result<(), TrainError> {
    let Kind::Tensor { dims: Some(dims), .. } = &input.kind else { return Ok(()) };
    let fits = |(dim, size): (&skysail_graph::Dim, &usize)| match dim {
        skysail_graph::Dim::Fixed(fixed) => *fixed == *size as u64,
        _ => true,
    };
    // The number of rows is the batch's, whatever the file was made for.
    let fits = dims.len() == shape.len() && dims.iter().zip(shape).skip(1).all(fits);
    match fits {
        true => Ok(()),
        false => Err(TrainError::Data(format!("the model takes {input}, not {shape:?}"))),
    }
}
