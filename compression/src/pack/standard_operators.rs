//! Replaces operators of ONNX Runtime that compression adds by ONNX's own.

use anyhow::Result;
use skysail_graph::{Attribute, Graph, GraphError, Model, NewNode, Node, Tensor};
use std::collections::BTreeSet;

/// Domains of ONNX itself.
const STANDARD: [&str; 2] = ["", "ai.onnx.ml"];
/// First version of the file format in which initializers need not be inputs too.
const OWN_INITIALIZERS: i64 = 4;
/// Domain of ONNX Runtime's own operators.
const RUNTIME: &str = "com.microsoft";

/// Replaces each product with int4 weights by a float32 product. Returns the remaining operators of
/// other domains.
pub(super) fn standardize(model: &mut Model) -> Result<Vec<String>> {
    let mut edit = model.edit();
    let graph = model.graph();
    for node in graph.nodes() {
        let Some(matrix) = int4_matrix(graph, node)? else { continue };
        let [input, output] = [&node.inputs()[0], &node.outputs()[0]];
        let weight = edit.fresh(&format!("{}_dense", node.inputs()[1]));
        let mut nodes = Vec::new();
        if model.ir_version() >= OWN_INITIALIZERS {
            edit.set_initializer(&weight, matrix);
        } else {
            let constant = NewNode::new("Constant", &[], &[&weight]);
            nodes.push(constant.attribute("value", Attribute::Tensor(matrix)));
        }
        let bias = node.inputs().get(BIAS).filter(|bias| !bias.is_empty());
        let product = match bias {
            Some(_) => edit.fresh(&format!("{output}_product")),
            None => output.clone(),
        };
        nodes.push(NewNode::new("MatMul", &[input, &weight], &[&product]).name(node.name()));
        if let Some(bias) = bias {
            let add = NewNode::new("Add", &[&product, bias], &[output]);
            nodes.push(add.name(&format!("{output}_bias")));
        }
        edit.replace(node, nodes);
    }
    model.apply(edit)?;
    model.drop_unused();
    let others = model.graph().nodes().filter(|node| !STANDARD.contains(&node.domain()));
    let others = others.map(|node| format!("{}.{}", node.domain(), node.op_type()));
    Ok(others.collect::<BTreeSet<_>>().into_iter().collect())
}

/// Indices of the inputs of `MatMulNBits` after the codes.
const SCALES: usize = 2;
const ZEROS: usize = 3;
const ORDER: usize = 4;
const BIAS: usize = 5;

/// Returns the 4-bit weights of a `MatMulNBits` as float32, a row for each input.
///
/// `None` for any other node, and where the weights are not constant or have an order of their own.
fn int4_matrix(graph: Graph<'_>, node: Node<'_>) -> Result<Option<Tensor>, GraphError> {
    let input = |position: usize| node.inputs().get(position).filter(|name| !name.is_empty());
    let is_int4 = node.op_type() == "MatMulNBits" && node.int("bits")?.unwrap_or(4) == 4;
    if node.domain() != RUNTIME || !is_int4 || node.outputs().len() != 1 || input(ORDER).is_some() {
        return Ok(None);
    }
    let size = |name| node.int(name).map(|size| size.and_then(|size| usize::try_from(size).ok()));
    let (Some(rows), Some(columns), Some(block)) = (size("K")?, size("N")?, size("block_size")?)
    else {
        return Ok(None);
    };
    let constant = |position| input(position).and_then(|name| graph.constant(name));
    let (Some(codes), Some(scales)) = (constant(1), constant(SCALES)) else { return Ok(None) };
    let (codes, scales) = (codes.bytes()?, scales.as_f32()?);
    let zeros = match (input(ZEROS), constant(ZEROS)) {
        (None, _) => None,
        (Some(_), Some(zeros)) => Some(zeros.values::<u8>()?),
        (Some(_), None) => return Ok(None),
    };
    let blocks = if block == 0 { 0 } else { rows.div_ceil(block) };
    let fits = codes.len() == columns.saturating_mul(blocks).saturating_mul(block / 2)
        && scales.len() == columns.saturating_mul(blocks)
        && block.is_multiple_of(2)
        && zeros.as_ref().is_none_or(|zeros| zeros.len() == columns * blocks.div_ceil(2));
    if !fits || rows == 0 {
        return Ok(None);
    }
    let nibble = |bytes: &[u8], position: usize| bytes[position / 2] >> (4 * (position % 2)) & 15;
    let mut values = vec![0.0_f32; rows * columns];
    for (position, value) in values.iter_mut().enumerate() {
        let (row, column) = (position / columns, position % columns);
        let number = column * blocks + row / block;
        let code = nibble(&codes[number * block / 2..], row % block);
        // A row of zeros is padded to whole bytes.
        let zero = zeros
            .as_ref()
            .map_or(8, |zeros| nibble(&zeros[column * blocks.div_ceil(2)..], row / block));
        *value = scales[number] * (f32::from(code) - f32::from(zero));
    }
    Tensor::new(&[rows as u64, columns as u64], &values).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use skysail_compression::{Int4Settings, Int4Weights, PerLayer, quantize_int4};
    use skysail_graph::{ElementType, mlp};

    #[test]
    fn int4_weights_become_float32_that_is_near_the_original() {
        for symmetric in [true, false] {
            let original = mlp(&[40, 6, 3], 5).unwrap();
            let mut model = original.clone();
            let fully_connected = Some(Int4Weights { block: 32, symmetric });
            let layers = PerLayer { fully_connected, ..PerLayer::none() };
            quantize_int4(&mut model, &Int4Settings { layers, int8_inputs: false }).unwrap();
            assert!(model.graph().nodes().any(|node| node.op_type() == "MatMulNBits"));
            assert!(standardize(&mut model).unwrap().is_empty());
            let graph = model.graph();
            let product = graph.nodes().find(|node| node.op_type() == "MatMul").unwrap();
            let weight = graph.initializer(&product.inputs()[1]).unwrap();
            assert_eq!(
                (weight.element(), weight.shape().unwrap()),
                (ElementType::Float32, vec![40, 6])
            );
            let dense = original.graph().initializer("fc0.weight").unwrap();
            let (dense, found) = (dense.as_f32().unwrap(), weight.as_f32().unwrap());
            let largest = dense.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
            for (position, value) in found.iter().enumerate() {
                // The original matrix has a row for each output.
                let (row, column) = (position / 6, position % 6);
                assert!((value - dense[column * 40 + row]).abs() < largest / 7.0);
            }
        }
    }

    #[test]
    fn old_file_formats_get_constants_instead_of_initializers() {
        let mut model = mlp(&[40, 6], 5).unwrap();
        quantize_int4(&mut model, &Int4Settings::default()).unwrap();
        let mut bytes = model.to_bytes().unwrap();
        // The first field is the version of the file format.
        assert_eq!(bytes[0], 0x08);
        bytes[1] = 3;
        let mut old = Model::from_bytes(&bytes).unwrap();
        standardize(&mut old).unwrap();
        let operators: Vec<&str> = old.graph().nodes().map(|node| node.op_type()).collect();
        assert!(operators.starts_with(&["Constant", "MatMul"]), "{operators:?}");
        assert!(old.graph().initializers().all(|tensor| !tensor.name().ends_with("_dense")));
    }

    #[test]
    fn operators_of_other_domains_are_kept_and_listed() {
        let mut model = mlp(&[4, 2], 1).unwrap();
        let mut edit = model.edit();
        edit.import("my.own", 1);
        let graph = model.graph();
        let node = graph.nodes().next().unwrap();
        edit.replace(node, [NewNode::copy_of(node).domain("my.own")]);
        model.apply(edit).unwrap();
        assert_eq!(standardize(&mut model).unwrap(), ["my.own.Gemm"]);
    }
}
