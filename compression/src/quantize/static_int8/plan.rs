//! Chooses the nodes that work on bytes, and the values that are bytes between them.

use crate::CompressError;
use crate::layers::is_float;
use crate::quantize::int8::{Granularity, Int8Weights, too_small};
use crate::quantize::operand::Operand;
use crate::quantize::rewrite::constant_of;
use crate::quantize::too_small_for;
use skysail_graph::{ElementType, Graph, Links, Model, Node, Role, Shapes, Weight};
use std::collections::{HashMap, HashSet};

/// Treatment of each node.
pub(super) struct Plan {
    /// Treatment by the index of the node.
    treatments: HashMap<usize, Treatment>,
    /// Values that get a range of their own.
    observed: Vec<String>,
    /// Layers that cannot be int8, and the reasons.
    pub(super) kept: Vec<(String, String)>,
}

/// Treatment of a node.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Treatment {
    /// The node multiplies bytes by a weight.
    Layer {
        /// The value to quantize: the node's output, or that of an activation after it. `None`
        /// where the product is best left in floats.
        output: Option<String>,
    },
    /// The node computes with bytes, and its output has a range of its own.
    Computes {
        /// The value to quantize.
        output: String,
    },
    /// The node only moves or picks elements of its first input, floats or codes.
    Moves,
}

impl Plan {
    /// Plans a model. The values in `tiny`, too small for scales, are no bytes.
    pub(super) fn of(
        model: &Model,
        chosen: &HashMap<String, Int8Weights>,
        tiny: &HashSet<String>,
    ) -> Result<Self, CompressError> {
        let graph = model.graph();
        let mut kept = Vec::new();
        let (links, shapes) = (graph.links(), graph.shapes());
        let mut planner = Planner { graph, links, layers: HashSet::new(), tiny };
        for weight in graph.weights()? {
            let name = weight.tensor.name();
            if !matches!(weight.role, Role::Weight(_)) || !chosen.contains_key(name) {
                continue;
            }
            let settings = chosen[name];
            let reason = match unsupported_reason(&weight, graph, &planner.links, &shapes)? {
                Some(reason) => Some(reason.to_owned()),
                None => planner.why_too_small(&weight, settings, &shapes)?,
            };
            match reason {
                None => drop(planner.layers.insert(weight.node.index())),
                Some(reason) => kept.push((name.to_owned(), reason)),
            }
        }
        let mut plan = planner.plan()?;
        plan.kept = kept;
        Ok(plan)
    }

    /// Returns the treatment of a node, if it is changed.
    pub(super) fn treatment(&self, node: Node<'_>) -> Option<&Treatment> {
        self.treatments.get(&node.index())
    }

    /// Returns the values whose ranges are needed.
    pub(super) fn observed(&self) -> Vec<String> {
        self.observed.clone()
    }
}

/// Returns the reason why the node of `weight` cannot multiply bytes, if there is one.
fn unsupported_reason(
    weight: &Weight<'_>,
    graph: Graph<'_>,
    links: &Links<'_>,
    shapes: &Shapes,
) -> Result<Option<&'static str>, CompressError> {
    let node = weight.node;
    let is_single = |value: &String| {
        shapes.element(value).is_none_or(|element| element == ElementType::Float32)
    };
    if weight.input != 1 || !node.inputs().first().is_some_and(is_single) {
        return Ok(Some("it is not on the right of a product of float32 values"));
    }
    let Some(operand) = Operand::of(weight, shapes)? else {
        return Ok(Some("its dimensions are not known"));
    };
    let rank = operand.dims.len();
    let outputs = match node.op_type() {
        "Conv" if rank >= 3 => operand.dims[0],
        "MatMul" if rank == 2 => operand.dims[1],
        "Gemm" if rank == 2 => {
            let one = |name| Ok::<_, CompressError>(node.float(name)?.unwrap_or(1.0) == 1.0);
            if node.int("transA")?.unwrap_or(0) != 0 || !one("alpha")? || !one("beta")? {
                return Ok(Some("its Gemm does more than multiply and add"));
            }
            operand.dims[usize::from(node.int("transB")?.unwrap_or(0) == 0)]
        }
        _ => return Ok(Some("ONNX Runtime has no int8 for it")),
    };
    let bias = node.inputs().get(2).filter(|name| !name.is_empty());
    let Some(bias) = bias else { return Ok(None) };
    let bias = constant_of(graph, links, bias)?.filter(|bias| is_float(bias.element()));
    let count = bias.map(|bias| bias.count()).transpose()?;
    let fits = count == Some(outputs as u64);
    Ok((!fits).then_some("its bias is no constant for each output"))
}

/// Returns the dimension of a layer's weights that counts its outputs.
pub(super) fn output_axis(node: Node<'_>) -> Result<usize, CompressError> {
    let turned = node.op_type() == "Gemm" && node.int("transB")?.unwrap_or(0) != 0;
    Ok(usize::from(node.op_type() != "Conv" && !turned))
}

/// Chooses the treatment of nodes.
struct Planner<'m, 't> {
    graph: Graph<'m>,
    links: Links<'m>,
    /// Nodes that multiply bytes, by index.
    layers: HashSet<usize>,
    /// Values too small for scales.
    tiny: &'t HashSet<String>,
}

/// Treatments that do not pay, left out of the next attempt.
#[derive(Default)]
struct Excluded {
    /// Nodes whose result is only needed in floats.
    nodes: HashSet<usize>,
    /// Layers whose output nobody uses as bytes.
    output: HashSet<usize>,
}

impl<'m> Planner<'m, '_> {
    /// Returns the reason to keep a layer whose weights, input or output are too small for a scale.
    fn why_too_small(
        &self,
        weight: &Weight<'m>,
        settings: Int8Weights,
        shapes: &Shapes,
    ) -> Result<Option<String>, CompressError> {
        let node = weight.node;
        let axis = (settings.granularity == Granularity::Channel).then_some(output_axis(node)?);
        let operand = Operand::of(weight, shapes)?;
        if let Some(size) = operand.and_then(|operand| too_small(&operand, axis)) {
            return Ok(Some(too_small_for("int8", size)));
        }
        let around = [node.inputs().first().map_or("", String::as_str), self.last_of(node)];
        let tiny = around.into_iter().find(|value| self.tiny.contains(*value));
        Ok(tiny.map(|value| {
            format!("the numbers of '{value}' are too small for int8: they would become zero")
        }))
    }

    /// Chooses treatments, then drops those without use, until all have one.
    fn plan(&self) -> Result<Plan, CompressError> {
        let mut excluded = Excluded::default();
        loop {
            let plan = self.forward(&excluded)?;
            let before = excluded.nodes.len() + excluded.output.len();
            self.exclude_useless(&plan, &mut excluded);
            if excluded.nodes.len() + excluded.output.len() == before {
                return Ok(plan);
            }
        }
    }

    fn forward(&self, excluded: &Excluded) -> Result<Plan, CompressError> {
        let mut treatments = HashMap::new();
        let mut observed: Vec<String> = Vec::new();
        // Values that exist as bytes.
        let mut bytes: HashSet<&str> = HashSet::new();
        for node in self.graph.nodes() {
            let index = node.index();
            let is_layer = self.layers.contains(&index);
            if !is_layer && (excluded.nodes.contains(&index) || !node.domain().is_empty()) {
                continue;
            }
            let Some(first) = node.inputs().first() else { continue };
            let treatment = if is_layer {
                if !bytes.contains(first.as_str()) && !observed.contains(first) {
                    observed.push(first.clone());
                }
                let output = (!excluded.output.contains(&index)).then(|| self.last_of(node));
                Treatment::Layer { output: output.map(str::to_owned) }
            } else if self.only_moves(node)? && bytes.contains(first.as_str()) {
                Treatment::Moves
            } else if self.tiny.contains(self.last_of(node)) {
                continue;
            } else if computes(node) && node.inputs().iter().all(|v| bytes.contains(v.as_str())) {
                Treatment::Computes { output: self.last_of(node).to_owned() }
            } else {
                continue;
            };
            match &treatment {
                Treatment::Moves => bytes.extend(node.outputs().iter().map(String::as_str)),
                Treatment::Layer { output: Some(_) } | Treatment::Computes { .. } => {
                    let output = self.last_of(node);
                    bytes.insert(output);
                    observed.push(output.to_owned());
                }
                Treatment::Layer { output: None } => {}
            }
            treatments.insert(index, treatment);
        }
        Ok(Plan { treatments, observed, kept: Vec::new() })
    }

    /// Returns the value to quantize: the node's output, or that of an activation that alone uses
    /// it.
    fn last_of(&self, node: Node<'m>) -> &'m str {
        let output = node.outputs().first().map_or("", String::as_str);
        let next = self.links.single_consumer(output).filter(|next| next.domain().is_empty());
        // The lowest code is then zero, or the limits lie inside the range: ONNX Runtime removes
        // the activation.
        let activation = next.filter(|next| matches!(next.op_type(), "Relu" | "Clip"));
        activation.and_then(|next| next.outputs().first()).map_or(output, String::as_str)
    }

    /// Returns true if the node only moves or picks elements of its first input, so that it can do
    /// the same to codes.
    fn only_moves(&self, node: Node<'_>) -> Result<bool, CompressError> {
        Ok(match node.op_type() {
            "Reshape" | "Flatten" | "Transpose" | "Squeeze" | "Unsqueeze" | "Slice" | "Split"
            | "Identity" | "DepthToSpace" | "SpaceToDepth" | "Expand" | "Tile" => true,
            "MaxPool" => node.outputs().iter().filter(|name| !name.is_empty()).count() == 1,
            "Pad" => {
                node.text("mode")?.unwrap_or("constant") != "constant" || self.pads_zero(node)?
            }
            _ => false,
        })
    }

    fn pads_zero(&self, node: Node<'_>) -> Result<bool, CompressError> {
        let Some(value) = node.inputs().get(2).filter(|name| !name.is_empty()) else {
            return Ok(true);
        };
        let constant = constant_of(self.graph, &self.links, value)?;
        let constant = constant.filter(|tensor| tensor.element() == ElementType::Float32);
        let Some(tensor) = constant else { return Ok(false) };
        Ok(tensor.as_f32()?.iter().all(|value| *value == 0.0))
    }

    /// Excludes treatments whose bytes nobody uses as bytes.
    fn exclude_useless(&self, plan: &Plan, excluded: &mut Excluded) {
        let nodes: Vec<_> = self.graph.nodes().collect();
        let mut useful: HashSet<usize> = HashSet::new();
        for node in nodes.into_iter().rev() {
            let index = node.index();
            let wanted = |value: &str| {
                self.links
                    .consumers(value)
                    .iter()
                    .any(|consumer| useful.contains(&consumer.node.index()))
            };
            match plan.treatments.get(&index) {
                None => {}
                Some(Treatment::Layer { output }) => {
                    // A convolution has no kernel from bytes to floats.
                    let free = node.op_type() != "Conv";
                    if free && output.as_ref().is_some_and(|output| !wanted(output)) {
                        excluded.output.insert(index);
                    }
                    useful.insert(index);
                }
                Some(Treatment::Computes { output }) if wanted(output) || shrinks(node) => {
                    useful.insert(index);
                }
                Some(Treatment::Moves)
                    if node.outputs().iter().any(|output| wanted(output)) || shrinks(node) =>
                {
                    useful.insert(index);
                }
                Some(_) => drop(excluded.nodes.insert(index)),
            }
        }
    }
}

/// Returns true if ONNX Runtime has a kernel for the node on bytes.
fn computes(node: Node<'_>) -> bool {
    const OPERATORS: [&str; 5] = ["Add", "Mul", "Concat", "AveragePool", "GlobalAveragePool"];
    OPERATORS.contains(&node.op_type()) && node.outputs().len() == 1
}

/// Returns true if the node's output is much smaller than its input: then bytes pay even if floats
/// are needed.
fn shrinks(node: Node<'_>) -> bool {
    matches!(node.op_type(), "AveragePool" | "GlobalAveragePool" | "MaxPool")
}
