//! Joins the operators that dynamic int8 writes into one, for runtimes that have an operator that
//! quantizes rows and multiplies them.
//!
//! Only graphs exactly as written are changed: results differ by the rounding of floats alone.

use crate::CompressError;
use skysail_graph::{Attribute, Edit, ElementType, Graph, Links, Model, NewNode, Node, TensorView};
use std::collections::{HashMap, HashSet};

/// Largest distance of a code from that of the center.
const CODE_MAX: f32 = 127.0;

/// Constants of all rows: the end of the name, and the value.
pub(crate) const HALF: (&str, f32) = ("half", 0.5);
pub(crate) const ZERO_FACTOR: (&str, f32) = ("nothing", 0.0);
pub(crate) const STEP_FACTOR: (&str, f32) = ("part", 1.0 / CODE_MAX);
pub(crate) const STEP_MIN: (&str, f32) = ("least", f32::MIN_POSITIVE);
pub(crate) const CENTER_CODE: (&str, f32) = ("middle", 128.0);

/// The operator that replaces the others.
///
/// Its inputs are rows of floats, and perhaps a bias for each output. Its attribute `weight` names
/// a product's matrix; the optional `activation` is `Relu`.
#[derive(Debug, Clone, Copy)]
pub struct Int8Operator<'a> {
    /// Type of the operator.
    pub op_type: &'a str,
    /// Domain of the operator.
    pub domain: &'a str,
    /// Version of the domain.
    pub version: i64,
}

/// A matrix that was removed from a graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Int8Product {
    /// Name of the matrix in the attribute `weight`.
    pub name: String,
    /// Number of rows.
    pub inputs: usize,
    /// Number of columns.
    pub outputs: usize,
    /// Codes, row by row. The value of a code is its product with the scale of its column.
    pub codes: Vec<i8>,
    /// Scales, one for each column.
    pub scales: Vec<f32>,
}

/// Replaces each product that [`quantize_dynamic`](super::quantize_dynamic) made by `operator`,
/// with its bias and a `Relu` behind it. Returns the matrices.
///
/// # Errors
/// `Graph` when the model is broken. It is then unchanged.
pub fn fuse_int8(
    model: &mut Model,
    operator: Int8Operator<'_>,
) -> Result<Vec<Int8Product>, CompressError> {
    let graph = model.graph();
    let mut edit = model.edit();
    let mut products: Vec<Int8Product> = Vec::new();
    replace_products(graph, &mut edit, |node, edit| {
        let product = node.product;
        let mut new = NewNode::new(operator.op_type, &[node.value], &[node.output])
            .domain(operator.domain)
            .attribute("weight", Attribute::Text(product.name.clone()));
        if let Some(bias) = node.bias {
            new = new.input(1, bias);
        }
        if node.has_relu {
            new = new.attribute("activation", Attribute::Text("Relu".into()));
        }
        edit.add(new);
        if !products.iter().any(|known| known.name == product.name) {
            products.push(product.clone());
        }
        Ok(())
    })?;
    if !products.is_empty() {
        edit.import(operator.domain, operator.version);
        model.apply(edit)?;
        model.drop_unused();
    }
    Ok(products)
}

/// A product of rows that become bytes while the model runs.
pub(crate) struct ProductNode<'a> {
    /// Name of the value whose rows are multiplied.
    pub(crate) value: &'a str,
    /// Matrix, whose name no other matrix has.
    pub(crate) product: &'a Int8Product,
    /// Name of the tensor of its codes.
    pub(crate) weight: &'a str,
    /// Name of the bias.
    pub(crate) bias: Option<&'a str>,
    pub(crate) has_relu: bool,
    /// Name of the result.
    pub(crate) output: &'a str,
}

/// Removes each product that [`quantize_dynamic`](super::quantize_dynamic) made, with its bias and
/// a `Relu` behind it. `make` adds what replaces it.
pub(crate) fn replace_products(
    graph: Graph<'_>,
    edit: &mut Edit,
    make: impl FnMut(&ProductNode<'_>, &mut Edit) -> Result<(), CompressError>,
) -> Result<(), CompressError> {
    if !graph.nodes().any(is_product) {
        return Ok(());
    }
    let initializers = graph.initializers().map(|tensor| (tensor.name(), tensor)).collect();
    Finder { links: graph.links(), initializers }.replace_products(graph, edit, make)
}

fn is_product(node: Node<'_>) -> bool {
    is(node, "MatMulInteger")
}

/// Returns true if a node has ONNX's operator of this name.
fn is(node: Node<'_>, op_type: &str) -> bool {
    node.domain().is_empty() && node.op_type() == op_type
}

/// Names of the values of quantized rows.
#[derive(Clone, Copy)]
struct Rows<'m> {
    value: &'m str,
    step: &'m str,
    center: &'m str,
}

/// A complete product of quantized rows.
struct Match<'m> {
    rows: Rows<'m>,
    product: Int8Product,
    /// All of its nodes but those that quantize the rows.
    nodes: Vec<Node<'m>>,
    bias: Option<&'m str>,
    has_relu: bool,
}

struct Finder<'m> {
    links: Links<'m>,
    /// Initializers by name. Of several with one name the last counts, as in ONNX Runtime.
    initializers: HashMap<&'m str, TensorView<'m>>,
}

impl<'m> Finder<'m> {
    /// Replaces all products.
    fn replace_products(
        &self,
        graph: Graph<'m>,
        edit: &mut Edit,
        mut make: impl FnMut(&ProductNode<'_>, &mut Edit) -> Result<(), CompressError>,
    ) -> Result<(), CompressError> {
        let mut products: Vec<Int8Product> = Vec::new();
        let mut replaced = HashSet::new();
        for node in graph.nodes().filter(|node| is_product(*node)) {
            let Some(mut matched) = self.match_product(node)? else { continue };
            if !matched.nodes.iter().all(|node| replaced.insert(node.index())) {
                continue;
            }
            let output = matched.nodes.last().and_then(|node| node.outputs().first());
            let output = output.map_or("", String::as_str);
            let weight = matched.product.name.clone();
            match products.iter().find(|known| known.name == weight) {
                Some(known) if *known == matched.product => {}
                Some(_) => matched.product.name = output.to_owned(),
                None => {}
            }
            for node in &matched.nodes {
                edit.remove(*node);
            }
            let node = ProductNode {
                value: matched.rows.value,
                product: &matched.product,
                weight: &weight,
                bias: matched.bias,
                has_relu: matched.has_relu,
                output,
            };
            make(&node, edit)?;
            if !products.iter().any(|known| known.name == matched.product.name) {
                products.push(matched.product);
            }
        }
        Ok(())
    }

    /// Returns the product around a `MatMulInteger`, if it is as dynamic int8 writes it.
    fn match_product(&self, node: Node<'m>) -> Result<Option<Match<'m>>, CompressError> {
        let [codes, weight, zero, weight_zero] = node.inputs() else { return Ok(None) };
        if !self.is_zero_code(zero)? || !self.is_zero_code(weight_zero)? {
            return Ok(None);
        }
        let (Some(rows), Some(weight)) =
            (self.match_rows(codes)?, self.initializers.get(&**weight))
        else {
            return Ok(None);
        };
        let Some((inputs, outputs, codes)) = matrix(*weight)? else { return Ok(None) };
        let Some(cast) = self.next(node, "Cast") else { return Ok(None) };
        if cast.int("to")? != Some(i64::from(ElementType::Float32.code())) {
            return Ok(None);
        }
        let Some((stepped, step)) = self.next_binary(cast, "Mul") else { return Ok(None) };
        let Some((scaled, scales)) = self.next_binary(stepped, "Mul") else { return Ok(None) };
        let Some((added, shift)) = self.next_binary(scaled, "Add") else { return Ok(None) };
        let Some(scales) = self.floats(scales)? else { return Ok(None) };
        let mut sums = vec![0_i32; outputs];
        for row in codes.chunks_exact(outputs) {
            sums.iter_mut().zip(row).for_each(|(sum, code)| *sum += i32::from(*code));
        }
        let sums = column_sums(&sums, &scales);
        let Some(shift) = self.links.producer(shift).filter(|shift| is(*shift, "Mul")) else {
            return Ok(None);
        };
        let [center, weights] = shift.inputs() else { return Ok(None) };
        let is_match = step == rows.step
            && *center == rows.center
            && sums.len() == outputs
            && self.floats(weights)?.as_deref() == Some(&*sums)
            && shift
                .outputs()
                .first()
                .and_then(|output| self.links.single_consumer(output))
                .is_some();
        if !is_match {
            return Ok(None);
        }
        let scales = if scales.len() == 1 { vec![scales[0]; outputs] } else { scales };
        let name = weight.name().to_owned();
        let product = Int8Product { name, inputs, outputs, codes, scales };
        let nodes = vec![node, cast, stepped, scaled, shift, added];
        let mut matched = Match { rows, product, nodes, bias: None, has_relu: false };
        self.match_tail(added, &mut matched)?;
        Ok(Some(matched))
    }

    /// Adds a bias and a `Relu` that follow a product.
    fn match_tail(&self, mut last: Node<'m>, matched: &mut Match<'m>) -> Result<(), CompressError> {
        if let Some((next, bias)) = self.next_binary(last, "Add") {
            let tensor = self.initializers.get(bias);
            let is_bias = |tensor: &&TensorView<'m>| {
                let shape = tensor.shape().ok();
                tensor.element() == ElementType::Float32
                    && shape.is_some_and(|shape| shape == [matched.product.outputs as u64])
            };
            if tensor.filter(is_bias).is_some() {
                matched.bias = Some(bias);
                matched.nodes.push(next);
                last = next;
            }
        }
        if let Some(relu) = self.next(last, "Relu") {
            matched.has_relu = true;
            matched.nodes.push(relu);
        }
        Ok(())
    }

    /// Follows the quantization of rows from its last node back to the value.
    fn match_rows(&self, codes: &str) -> Result<Option<Rows<'m>>, CompressError> {
        let Some(cast) = self.links.producer(codes).filter(|node| is(*node, "Cast")) else {
            return Ok(None);
        };
        if cast.int("to")? != Some(i64::from(ElementType::UInt8.code())) {
            return Ok(None);
        }
        let rows = || {
            let raised = cast.inputs().first()?;
            let rounded = self.operand_beside(raised, "Add", CENTER_CODE)?;
            let [scaled] = self.inputs_of(rounded, "Round")? else { return None };
            let [shifted, inverse] = self.inputs_of(scaled, "Mul")? else { return None };
            let [value, center] = self.inputs_of(shifted, "Sub")? else { return None };
            let [step] = self.inputs_of(inverse, "Reciprocal")? else { return None };
            let part = self.operand_beside(step, "Max", STEP_MIN)?;
            let farther = self.operand_beside(part, "Mul", STEP_FACTOR)?;
            let [up, down] = self.inputs_of(farther, "Max")? else { return None };
            let [high, up_from] = self.inputs_of(up, "Sub")? else { return None };
            let [down_from, low] = self.inputs_of(down, "Sub")? else { return None };
            let [between, guard] = self.inputs_of(center, "Add")? else { return None };
            let [high_half, low_half] = self.inputs_of(between, "Add")? else { return None };
            let sum = self.operand_beside(guard, "Mul", ZERO_FACTOR)?;
            let is_match = up_from == center
                && down_from == center
                && self.operand_beside(high_half, "Mul", HALF)? == high
                && self.operand_beside(low_half, "Mul", HALF)? == low
                && self.is_reduction(high, "ReduceMax", value)?
                && self.is_reduction(low, "ReduceMin", value)?
                && self.is_reduction(sum, "ReduceSum", value)?;
            is_match.then_some(Rows { value, step, center })
        };
        Ok(rows())
    }

    /// Returns the inputs of the node that produces a value, if it has this operator.
    fn inputs_of(&self, value: &str, op_type: &str) -> Option<&'m [String]> {
        self.links.producer(value).filter(|node| is(*node, op_type)).map(|node| node.inputs())
    }

    /// Returns the first input of the node that produces a value, if it has this operator and its
    /// second input is a number.
    fn operand_beside(
        &self,
        value: &str,
        op_type: &str,
        (_, number): (&str, f32),
    ) -> Option<&'m str> {
        let [first, second] = self.inputs_of(value, op_type)? else { return None };
        let constant = self.initializers.get(second.as_str())?;
        let is_number = constant.element() == ElementType::Float32
            && constant.rank() == 0
            && *constant.as_f32().ok()? == [number];
        is_number.then_some(first)
    }

    /// Returns true if a value is this reduction of the last dimension, kept as 1.
    fn is_reduction(&self, output: &str, op_type: &str, value: &str) -> Option<bool> {
        let node = self.links.producer(output).filter(|node| is(*node, op_type))?;
        let axes = match node.inputs().get(1) {
            Some(axes) => self.initializers.get(axes.as_str())?.as_i64().ok()?.to_vec(),
            None => node.ints("axes").ok()??.to_vec(),
        };
        let keeps = node.int("keepdims").ok()?.unwrap_or(1) == 1;
        Some(keeps && axes == [-1] && node.inputs().first()? == value)
    }

    /// Returns the only consumer of a node, if it has this operator.
    fn next(&self, node: Node<'m>, op_type: &str) -> Option<Node<'m>> {
        let [output] = node.outputs() else { return None };
        self.links.single_consumer(output).filter(|next| is(*next, op_type))
    }

    /// Returns the only consumer of a node, if it has this operator of two inputs, and its other
    /// input.
    fn next_binary(&self, node: Node<'m>, op_type: &str) -> Option<(Node<'m>, &'m str)> {
        let next = self.next(node, op_type)?;
        let [first, second] = next.inputs() else { return None };
        let output = node.outputs().first()?;
        let other = if first == output { second } else { first };
        (other != output).then_some((next, other))
    }

    /// Returns true if a constant is the unsigned byte 128.
    fn is_zero_code(&self, name: &str) -> Result<bool, CompressError> {
        let Some(tensor) = self.initializers.get(name) else { return Ok(false) };
        Ok(tensor.element() == ElementType::UInt8 && *tensor.values::<u8>()? == [128])
    }

    /// Returns the values of a float constant of at most one dimension.
    fn floats(&self, name: &str) -> Result<Option<Vec<f32>>, CompressError> {
        let tensor = self.initializers.get(name);
        let tensor = tensor.filter(|it| it.element() == ElementType::Float32 && it.rank() <= 1);
        Ok(tensor.map(TensorView::as_f32).transpose()?.map(|values| values.into_owned()))
    }
}

/// Returns the inputs, outputs and codes of a matrix of unsigned bytes.
fn matrix(tensor: TensorView<'_>) -> Result<Option<(usize, usize, Vec<i8>)>, CompressError> {
    let shape = tensor.shape()?;
    let ([inputs, outputs], ElementType::UInt8) = (&shape[..], tensor.element()) else {
        return Ok(None);
    };
    let bytes = tensor.values::<u8>()?;
    let codes = bytes.iter().map(|byte| (byte ^ 0x80).cast_signed()).collect();
    let is_empty = *inputs == 0 || *outputs == 0;
    // The bytes were read, so the sizes fit.
    Ok((!is_empty).then_some((*inputs as usize, *outputs as usize, codes)))
}

/// Converts sums of codes to sums of weights, by a scale for each column or one for all.
pub(crate) fn column_sums(sums: &[i32], scales: &[f32]) -> Vec<f32> {
    let scale = |column: usize| scales[if scales.len() == 1 { 0 } else { column }];
    if scales.len() != 1 && scales.len() != sums.len() {
        return Vec::new();
    }
    sums.iter().enumerate().map(|(column, sum)| *sum as f32 * scale(column)).collect()
}

#[cfg(test)]
mod tests;
