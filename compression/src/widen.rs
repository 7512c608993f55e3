//! The float form of a model with products and convolutions of bytes.
//!
//! Weights become the floats that their codes mean. Values that were bytes between two operators
//! stay floats, within the range that the bytes had: quantizers leave out activations that the range
//! alone applies. So the float form differs by the rounding of values to bytes alone, and is the
//! more exact one.

use crate::CompressError;
use crate::fuse::{Int8Product, ProductNode, replace_products};
use skysail_graph::{Edit, ElementType, Graph, Links, Model, NewNode, Node, Tensor, TensorView};
use std::collections::{BTreeSet, HashMap};

/// First version of ONNX's operators in which the limits of `Clip` are inputs.
const CLIP_OPSET: i64 = 11;

/// Operators that only pick or move elements of their first input, of bytes as of floats.
const MOVERS: [&str; 14] = [
    "DepthToSpace",
    "Expand",
    "Flatten",
    "Identity",
    "MaxPool",
    "Pad",
    "Reshape",
    "Slice",
    "SpaceToDepth",
    "Split",
    "Squeeze",
    "Tile",
    "Transpose",
    "Unsqueeze",
];

/// Turns operators on bytes into operators on floats, where the model is as
/// [`quantize_static`](crate::quantize_static) or [`quantize_dynamic`](crate::quantize_dynamic)
/// writes it. Returns the names of the constants whose codes were widened; if there are none,
/// the model is unchanged.
///
/// # Errors
/// `Graph` when the model is broken. It is then unchanged.
pub fn widen_int8(model: &mut Model) -> Result<BTreeSet<String>, CompressError> {
    if model.opset("").unwrap_or(1) < CLIP_OPSET {
        return Ok(BTreeSet::new());
    }
    let graph = model.graph();
    let initializers = graph.initializers().map(|tensor| (tensor.name(), tensor)).collect();
    let mut widener = Widener {
        links: graph.links(),
        initializers,
        edit: model.edit(),
        widened: BTreeSet::new(),
    };
    widener.products(graph)?;
    widener.values(graph)?;
    let Widener { edit, widened, .. } = widener;
    if !widened.is_empty() {
        model.apply(edit)?;
        model.drop_unused();
    }
    Ok(widened)
}

struct Widener<'m> {
    links: Links<'m>,
    /// Initializers by name. Of several with one name the last counts, as in ONNX Runtime.
    initializers: HashMap<&'m str, TensorView<'m>>,
    edit: Edit,
    widened: BTreeSet<String>,
}

impl<'m> Widener<'m> {
    /// Turns products of rows that become bytes while the model runs into products of floats.
    fn products(&mut self, graph: Graph<'m>) -> Result<(), CompressError> {
        let widened = &mut self.widened;
        // Products may share a matrix.
        let mut names: HashMap<String, String> = HashMap::new();
        let make = |node: &ProductNode<'_>, edit: &mut Edit| {
            let product = node.product;
            widened.insert(node.weight.to_owned());
            let name = match names.get(&product.name) {
                Some(name) => name.clone(),
                None => {
                    let name = edit.fresh(&format!("{}_floats", product.name));
                    edit.set_initializer(&name, floats_of(product)?);
                    names.insert(product.name.clone(), name.clone());
                    name
                }
            };
            let mut steps: Vec<(&str, &str)> = vec![("MatMul", &name)];
            steps.extend(node.bias.map(|bias| ("Add", bias)));
            if node.has_relu {
                steps.push(("Relu", ""));
            }
            let (mut value, last) = (node.value.to_owned(), steps.len() - 1);
            for (index, (op_type, operand)) in steps.into_iter().enumerate() {
                let output = match index == last {
                    true => node.output.to_owned(),
                    false => edit.fresh(&format!("{}_{op_type}", node.output)),
                };
                let inputs = [value.as_str(), operand];
                let count = if operand.is_empty() { 1 } else { 2 };
                edit.add(NewNode::new(op_type, &inputs[..count], &[&output]));
                value = output;
            }
            Ok(())
        };
        replace_products(graph, &mut self.edit, make)?;
        Ok(())
    }

    /// Turns values that are bytes between two operators into floats, and constants likewise.
    fn values(&mut self, graph: Graph<'m>) -> Result<(), CompressError> {
        let Some(codes) = self.codes(graph)? else { return Ok(()) };
        for node in graph.nodes() {
            let Some(input) = node.inputs().first() else { continue };
            let output = node.outputs().first().map_or("", String::as_str);
            match node.op_type() {
                "QuantizeLinear" => {
                    let Some(bytes) = codes.get(output) else { continue };
                    let [low, high] =
                        ["low", "high"].map(|end| self.edit.fresh(&format!("{output}_{end}")));
                    self.edit.set_initializer(&low, Tensor::new(&[], &[bytes.low])?);
                    self.edit.set_initializer(&high, Tensor::new(&[], &[bytes.high])?);
                    let clip = NewNode::new("Clip", &[input, &low, &high], &[output]);
                    self.edit.replace(node, [clip]);
                }
                "DequantizeLinear" if codes.contains_key(input.as_str()) => {
                    self.edit.replace(node, [NewNode::new("Identity", &[input], &[output])]);
                }
                "DequantizeLinear" => {
                    let Some(values) = self.constant(node)? else { continue };
                    self.widened.insert(input.clone());
                    self.edit.remove(node);
                    self.edit.set_initializer(output, values);
                }
                "Pad" if codes.contains_key(input.as_str()) => {
                    let name = self.edit.fresh(&format!("{output}_filling"));
                    self.edit.set_initializer(&name, Tensor::new(&[], &[0.0_f32])?);
                    self.edit.replace(node, [NewNode::copy_of(node).input(2, &name)]);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Values that are codes of floats, by name; `None` if an operator computes with such codes.
    fn codes(
        &self,
        graph: Graph<'m>,
    ) -> Result<Option<HashMap<&'m str, Bytes<'m>>>, CompressError> {
        let mut codes: HashMap<&str, Bytes<'_>> = HashMap::new();
        for node in graph.nodes() {
            let [input, rest @ ..] = node.inputs() else { continue };
            let bytes = match node.op_type() {
                "QuantizeLinear" => self.bytes(rest)?,
                _ if is_mover(node) => codes.get(input.as_str()).copied(),
                _ => None,
            };
            let Some(bytes) = bytes else { continue };
            for output in node.outputs().iter().filter(|output| !output.is_empty()) {
                if self.links.is_output(output) {
                    return Ok(None);
                }
                for consumer in self.links.consumers(output) {
                    if consumer.input != Some(0) || !self.takes(consumer.node, bytes)? {
                        return Ok(None);
                    }
                }
                codes.insert(output, bytes);
            }
        }
        Ok(Some(codes))
    }

    /// True if a node does the same to these codes as to their floats.
    fn takes(&self, node: Node<'m>, bytes: Bytes<'m>) -> Result<bool, CompressError> {
        Ok(match node.op_type() {
            "DequantizeLinear" => {
                let same = |other: Bytes<'_>| (other.low, other.high) == (bytes.low, bytes.high);
                self.bytes(&node.inputs()[1..])?.is_some_and(same)
            }
            "Pad" if node.text("mode")?.unwrap_or("constant") == "constant" => {
                node.inputs().get(2).is_some_and(|filling| filling == bytes.zero)
            }
            _ => is_mover(node),
        })
    }

    /// Bytes of this scale and zero; `None` if there is not one of each, or they are not constant.
    fn bytes(&self, scale_and_zero: &'m [String]) -> Result<Option<Bytes<'m>>, CompressError> {
        let [scale, zero] = scale_and_zero else { return Ok(None) };
        let (Some(scale), Some(constant)) =
            (self.initializers.get(scale.as_str()), self.initializers.get(zero.as_str()))
        else {
            return Ok(None);
        };
        let (least, greatest) = match constant.element() {
            ElementType::UInt8 => (0, 255),
            ElementType::Int8 => (-128, 127),
            _ => return Ok(None),
        };
        if scale.element() != ElementType::Float32 {
            return Ok(None);
        }
        let (scale, zeros) = (scale.as_f32()?, integers(constant)?);
        let ([scale], [code]) = (&scale[..], &zeros[..]) else { return Ok(None) };
        let number = |end: i32| scale * (end - code) as f32;
        Ok(Some(Bytes { low: number(least), high: number(greatest), zero }))
    }

    /// Floats that constant codes mean; `None` if they are not constant or not understood.
    fn constant(&self, node: Node<'m>) -> Result<Option<Tensor>, CompressError> {
        let [codes, scale, rest @ ..] = node.inputs() else { return Ok(None) };
        let (Some(codes), Some(scale)) =
            (self.initializers.get(codes.as_str()), self.initializers.get(scale.as_str()))
        else {
            return Ok(None);
        };
        let is_integer =
            matches!(codes.element(), ElementType::UInt8 | ElementType::Int8 | ElementType::Int32);
        let is_blocked = node.int("block_size")?.unwrap_or(0) != 0;
        if !is_integer || is_blocked || scale.element() != ElementType::Float32 {
            return Ok(None);
        }
        let (shape, scales) = (codes.shape()?, scale.as_f32()?);
        let zeros = match rest.first().map(|zero| self.initializers.get(zero.as_str())) {
            None => vec![0; scales.len()],
            Some(Some(zero)) if zero.element() == codes.element() => integers(zero)?,
            Some(_) => return Ok(None),
        };
        let axis = node.int("axis")?.unwrap_or(1);
        let Some(places) = Places::of(&shape, axis, scales.len()) else { return Ok(None) };
        if zeros.len() != scales.len() {
            return Ok(None);
        }
        let value = |(index, code): (usize, &i32)| {
            let place = places.of_element(index);
            // The difference of two integers of 32 bits may not fit one.
            (f64::from(*code) - f64::from(zeros[place])) as f32 * scales[place]
        };
        let values: Vec<f32> = integers(codes)?.iter().enumerate().map(value).collect();
        Ok(Some(Tensor::new(&shape, &values)?))
    }
}

/// The meaning of bytes that stand for floats.
#[derive(Clone, Copy)]
struct Bytes<'m> {
    /// Numbers of the least code and of the greatest.
    low: f32,
    high: f32,
    /// Name of the code of zero.
    zero: &'m str,
}

/// Place of each element's scale.
struct Places {
    scales: usize,
    /// Elements behind the axis of the scales.
    inner: usize,
}

impl Places {
    /// Places of the elements of a shape; `None` if the scales do not fit it.
    fn of(shape: &[u64], axis: i64, scales: usize) -> Option<Self> {
        if scales == 1 {
            return Some(Self { scales, inner: 1 });
        }
        let axis = if axis < 0 { axis.checked_add_unsigned(shape.len() as u64)? } else { axis };
        let axis = usize::try_from(axis).ok()?;
        let inner = shape.get(axis + 1..)?.iter().product::<u64>();
        (*shape.get(axis)? == scales as u64 && inner > 0)
            .then_some(Self { scales, inner: inner as usize })
    }

    fn of_element(&self, index: usize) -> usize {
        index / self.inner % self.scales
    }
}

/// Floats that the codes of a matrix mean.
fn floats_of(product: &Int8Product) -> Result<Tensor, CompressError> {
    let scales = product.scales.iter().cycle();
    let values: Vec<f32> =
        product.codes.iter().zip(scales).map(|(code, scale)| f32::from(*code) * scale).collect();
    Ok(Tensor::new(&[product.inputs as u64, product.outputs as u64], &values)?)
}

/// Returns true if a node has ONNX's operator of this name.
fn is(node: Node<'_>, op_type: &str) -> bool {
    node.domain().is_empty() && node.op_type() == op_type
}

fn is_mover(node: Node<'_>) -> bool {
    MOVERS.iter().any(|mover| is(node, mover))
}

/// Elements of a tensor of integers of up to 32 bits.
fn integers(tensor: &TensorView<'_>) -> Result<Vec<i32>, CompressError> {
    Ok(match tensor.element() {
        ElementType::UInt8 => tensor.values::<u8>()?.iter().map(|code| i32::from(*code)).collect(),
        ElementType::Int8 => tensor.values::<i8>()?.iter().map(|code| i32::from(*code)).collect(),
        _ => tensor.values::<i32>()?.into_owned(),
    })
}
