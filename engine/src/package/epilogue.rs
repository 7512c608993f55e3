//! Epilogue of a sparse layer: a bias, a fixed normalisation, a residual and an activation that are
//! fused into it.

use super::constants::{Broadcast, Constants};
use super::operation::Operation;
use skysail_compression::PackageError;
use skysail_graph::{Dim, Links, Node, Shapes};
use skysail_kernels::Activation;
use std::collections::HashSet;

/// Epilogue of a layer: its sums times a scale, plus a bias, plus a residual, through an activation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Epilogue {
    /// First outputs of the nodes that are replaced; the layer's own is the first.
    pub(super) outputs: Vec<String>,
    pub(super) affine: Affine,
    /// Name of a value of the output's shape that is added.
    pub(super) residual: Option<String>,
    pub(super) activation: Activation,
}

/// Scale and bias for each output.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Affine {
    pub(super) scale: Option<Vec<f32>>,
    pub(super) bias: Option<Vec<f32>>,
}

impl Affine {
    /// Adds a number to each output.
    pub(super) fn add(&mut self, values: &[f32]) {
        match &mut self.bias {
            Some(bias) => bias.iter_mut().zip(values).for_each(|(bias, value)| *bias += value),
            None => self.bias = Some(values.to_vec()),
        }
    }

    /// Multiplies each output by a number.
    fn multiply(&mut self, values: &[f32]) {
        let multiply = |target: &mut Vec<f32>| {
            target.iter_mut().zip(values).for_each(|(target, value)| *target *= value);
        };
        self.bias.iter_mut().for_each(multiply);
        multiply(self.scale.get_or_insert_with(|| vec![1.0; values.len()]));
    }
}

/// Finds epilogues in a graph, none of which has a node of another.
pub(super) struct EpilogueFinder<'a> {
    pub(super) links: Links<'a>,
    pub(super) shapes: Shapes,
    pub(super) constants: Constants<'a>,
    /// Indices of the nodes that belong to an epilogue.
    pub(super) taken: HashSet<usize>,
}

impl EpilogueFinder<'_> {
    /// The epilogue of a layer whose own node applies `affine`; `None` if the node has no output.
    pub(super) fn find(
        &mut self,
        node: Node<'_>,
        operation: Operation,
        affine: Affine,
    ) -> Result<Option<Epilogue>, PackageError> {
        let Some(own) = node.outputs().first() else { return Ok(None) };
        let outputs = vec![own.clone()];
        let mut epilogue =
            Epilogue { outputs, affine, residual: None, activation: Activation::None };
        let mut value = own.as_str();
        while let Some(next) = self.links.single_consumer(value)
            && let [output] = next.outputs()
            // A broken graph may have a cycle.
            && next.domain().is_empty() && !epilogue.outputs.contains(output)
            && !self.taken.contains(&next.index())
            && self.fuse(&mut epilogue, next, operation)?
        {
            self.taken.insert(next.index());
            epilogue.outputs.push(output.clone());
            value = output;
            if epilogue.activation != Activation::None {
                break;
            }
        }
        Ok(Some(epilogue))
    }

    /// Adds a node's operation to the epilogue. Returns false if a sparse layer can not do it.
    fn fuse(
        &self,
        epilogue: &mut Epilogue,
        node: Node<'_>,
        operation: Operation,
    ) -> Result<bool, PackageError> {
        let value = epilogue.outputs.last().cloned().unwrap_or_default();
        let activation = match node.op_type() {
            "Add" => return self.fuse_add(epilogue, node, &value, operation),
            "BatchNormalization" if epilogue.residual.is_none() => {
                return self.fuse_normalization(epilogue, node, &value, operation);
            }
            "Relu" => Some(Activation::Relu),
            "LeakyRelu" => {
                Some(Activation::LeakyRelu { slope: node.float("alpha")?.unwrap_or(0.01) })
            }
            "Clip" => clip(self.constants, node, &value)?,
            _ => None,
        };
        epilogue.activation = activation.unwrap_or(epilogue.activation);
        Ok(activation.is_some())
    }

    fn fuse_add(
        &self,
        epilogue: &mut Epilogue,
        node: Node<'_>,
        value: &str,
        operation: Operation,
    ) -> Result<bool, PackageError> {
        let Some(added) = node.inputs().iter().find(|input| *input != value) else {
            return Ok(false);
        };
        let broadcast = match operation {
            // Inputs may be rows without a batch dimension.
            Operation::Product(_) => Broadcast { after: 0, rank: 1 },
            Operation::Convolution { rank, .. } => Broadcast { after: rank, rank: rank + 2 },
        };
        if let Some(values) = self.constants.per_output(added, operation.outputs(), broadcast)? {
            epilogue.affine.add(&values);
            return Ok(true);
        }
        let is_of_images = matches!(operation, Operation::Convolution { .. });
        if !is_of_images || epilogue.residual.is_some() || !self.have_same_shape(value, added) {
            return Ok(false);
        }
        epilogue.residual = Some(added.clone());
        Ok(true)
    }

    /// True if two values are known to have the same shape.
    fn have_same_shape(&self, one: &str, other: &str) -> bool {
        let known = |dims: &[Dim]| !dims.contains(&Dim::Unknown);
        let dims = self.shapes.dims(one);
        dims.is_some_and(known) && dims == self.shapes.dims(other)
    }

    /// Adds a normalisation with a fixed mean and variance:
    /// `scale (x - mean) / sqrt(variance + epsilon) + shift`.
    fn fuse_normalization(
        &self,
        epilogue: &mut Epilogue,
        node: Node<'_>,
        value: &str,
        operation: Operation,
    ) -> Result<bool, PackageError> {
        let is_of_channels = matches!(operation, Operation::Convolution { .. });
        let is_fixed = node.int("training_mode")?.unwrap_or(0) == 0;
        let ([x, names @ ..], true, true) = (node.inputs(), is_of_channels, is_fixed) else {
            return Ok(false);
        };
        let mut rows = Vec::new();
        for name in names {
            let broadcast = Broadcast { after: 0, rank: 1 };
            rows.extend(self.constants.per_output(name, operation.outputs(), broadcast)?);
        }
        let ([scale, shift, mean, variance], true) = (&rows[..], x == value && names.len() == 4)
        else {
            return Ok(false);
        };
        let epsilon = node.float("epsilon")?.unwrap_or(1e-5);
        let factor = |(scale, variance): (&f32, &f32)| scale / (variance + epsilon).sqrt();
        let factors: Vec<f32> = scale.iter().zip(variance).map(factor).collect();
        epilogue.affine.add(&mean.iter().map(|mean| -mean).collect::<Vec<_>>());
        epilogue.affine.multiply(&factors);
        epilogue.affine.add(shift);
        Ok(true)
    }
}

/// Reads a `Clip`. Its bounds are attributes in old versions of the operator, and inputs in later
/// ones.
fn clip(
    constants: Constants<'_>,
    node: Node<'_>,
    value: &str,
) -> Result<Option<Activation>, PackageError> {
    let [x, bounds @ ..] = node.inputs() else { return Ok(None) };
    let mut found = [None; 2];
    for (index, attribute) in ["min", "max"].into_iter().enumerate() {
        found[index] = node.float(attribute)?;
        if let Some(name) = bounds.get(index).filter(|name| !name.is_empty()) {
            let Some(bound) = constants.number(name)? else { return Ok(None) };
            found[index] = Some(bound);
        }
    }
    let [low, high] = found;
    let clip = Activation::Clip { low: low.unwrap_or(f32::MIN), high: high.unwrap_or(f32::MAX) };
    Ok((x == value).then_some(clip))
}
