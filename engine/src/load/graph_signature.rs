//! Completes a signature from the model's graph: tensors of any rank, optional inputs, and proven
//! output shapes. The runtime reports none of these.

use crate::config::ExpectedTensor;
use crate::optional_inputs::optional_inputs;
use crate::signature::{ProvenShapes, Signature, TensorSpec};
use skysail_graph::{Kind, Model, ValueInfo};

/// Sizes of the first and of the other open dimensions. Proven shapes for these show which
/// dimensions of an output vary.
const SAMPLES: [[usize; 2]; 3] = [[2, 8], [3, 12], [5, 12]];

/// Completes the runtime's signature from the graph, and from the inputs that the configuration
/// declares.
pub(crate) fn complete(signature: &mut Signature, model: &Model, expected: &[ExpectedTensor]) {
    let (inputs, outputs) = (model.graph().inputs(), model.graph().outputs());
    let optional = optional_inputs(model, expected);
    let is_optional = |spec: &TensorSpec| optional.iter().any(|info| info.name == *spec.name);
    signature.optional_inputs.retain(is_optional);
    set_any_rank(&mut signature.inputs, &inputs);
    set_any_rank(&mut signature.optional_inputs, &optional);
    set_any_rank(&mut signature.outputs, &outputs);
    // A proof refers to inputs and outputs by index.
    if is_in_order(&signature.inputs, &inputs) && is_in_order(&signature.outputs, &outputs) {
        signature.proven = ProvenShapes {
            any_rows: model.output_shapes(false).into(),
            same_rows: model.output_shapes(true).into(),
        };
        correct_outputs(signature);
    }
}

/// Marks tensors of any rank, which the runtime reports as scalars.
fn set_any_rank(specs: &mut [TensorSpec], infos: &[ValueInfo]) {
    for spec in specs.iter_mut().filter(|spec| spec.dims.is_empty()) {
        let info = infos.iter().find(|info| info.name == *spec.name);
        let is_shapeless = |info: &ValueInfo| matches!(info.kind, Kind::Tensor { dims: None, .. });
        spec.any_rank = info.is_some_and(is_shapeless);
    }
}

fn is_in_order(specs: &[TensorSpec], infos: &[ValueInfo]) -> bool {
    specs.iter().map(|spec| &*spec.name).eq(infos.iter().map(|info| info.name.as_str()))
}

/// Replaces declared output dimensions by proven ones where they differ.
fn correct_outputs(signature: &mut Signature) {
    let samples = SAMPLES.map(|sizes| input_shapes(&signature.inputs, sizes));
    let [Some(first), Some(second), Some(third)] = samples else { return };
    let samples = [first, second, third];
    for (index, spec) in signature.outputs.iter_mut().enumerate() {
        let shape = |inputs: &Vec<Vec<usize>>| {
            let inputs: Vec<&[usize]> = inputs.iter().map(Vec::as_slice).collect();
            let ProvenShapes { any_rows, same_rows } = &signature.proven;
            let of = |proven: &[skysail_graph::OutputShape]| proven.get(index)?.sizes(&inputs);
            of(any_rows).or_else(|| of(same_rows))
        };
        let shapes: Option<Vec<Vec<usize>>> = samples.iter().map(shape).collect();
        if let Some(shapes) = shapes {
            correct(spec, &shapes);
        }
    }
}

/// Consistent shapes of all inputs; `None` if an input has any rank.
fn input_shapes(inputs: &[TensorSpec], [rows, rest]: [usize; 2]) -> Option<Vec<Vec<usize>>> {
    let shape = |spec: &TensorSpec| {
        let sizes = spec.dims.iter().enumerate();
        let sizes = sizes.map(|(at, dim)| dim.unwrap_or(if at == 0 { rows } else { rest }));
        (!spec.any_rank).then(|| sizes.collect())
    };
    inputs.iter().map(shape).collect()
}

/// Corrects the dimensions of an output to match shapes that it is proven to have.
fn correct(spec: &mut TensorSpec, shapes: &[Vec<usize>]) {
    let Some((first, others)) = shapes.split_first() else { return };
    if !spec.any_rank && shapes.iter().all(|shape| spec.accepts(shape)) {
        return;
    }
    spec.any_rank = others.iter().any(|shape| shape.len() != first.len());
    spec.dims.clear();
    spec.dim_names.clear();
    if !spec.any_rank {
        let same = |at: usize| others.iter().all(|shape| shape[at] == first[at]);
        spec.dims.extend(first.iter().enumerate().map(|(at, size)| same(at).then_some(*size)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::DataType;
    use crate::testing::spec;

    #[test]
    fn proven_dimensions_replace_declared_ones() {
        let shapes = [vec![2, 4], vec![3, 4]];
        let corrected = |declared: &[Option<usize>], any_rank| {
            let mut spec = TensorSpec { any_rank, ..spec("y", DataType::Fp32, declared) };
            correct(&mut spec, &shapes);
            assert!(!spec.any_rank);
            spec.dims.to_vec()
        };
        let truth = [None, Some(4)];
        assert_eq!(corrected(&[Some(1), Some(4)], false), truth);
        assert_eq!(corrected(&[Some(4)], false), truth);
        assert_eq!(corrected(&[], true), truth);
        // Open dimensions are less precise, but not wrong.
        assert_eq!(corrected(&[None, None], false), [None, None]);
    }
}
