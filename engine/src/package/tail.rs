//! What follows a layer and is done by its sparse form at once: a bias, a normalisation with fixed
//! numbers, another value that is added, an activation.

use super::constants::{Constants, Spread};
use super::layer::Operation;
use skysail_compression::PackageError;
use skysail_graph::{Dim, Links, Node, Shapes};
use skysail_kernels::Activation;
use std::collections::HashSet;

/// The nodes that a sparse layer stands for, its own first, and what it does for them: the sums
/// times a scale, plus a bias, plus another value, through an activation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tail {
    /// The first output of each node.
    pub(super) made: Vec<String>,
    pub(super) affine: Affine,
    /// The name of a value of the output's shape.
    pub(super) added: Option<String>,
    pub(super) activation: Activation,
}

/// What is multiplied to and added to each output.
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

/// Finds tails in a graph, none of which has a node of another.
pub(super) struct Tails<'a> {
    pub(super) links: Links<'a>,
    pub(super) shapes: Shapes,
    pub(super) constants: Constants<'a>,
    /// Places of the nodes that have been taken.
    pub(super) taken: HashSet<usize>,
}

impl Tails<'_> {
    /// The tail of a layer whose node itself multiplies and adds `affine`; `None` when it makes
    /// nothing.
    pub(super) fn find(
        &mut self,
        node: Node<'_>,
        operation: Operation,
        affine: Affine,
    ) -> Result<Option<Tail>, PackageError> {
        let Some(own) = node.outputs().first() else { return Ok(None) };
        let made = vec![own.clone()];
        let mut tail = Tail { made, affine, added: None, activation: Activation::None };
        let mut value = own.as_str();
        while let Some(next) = self.links.single_consumer(value)
            && let [made] = next.outputs()
            // A broken graph may go in a circle.
            && next.domain().is_empty() && !tail.made.contains(made)
            && !self.taken.contains(&next.index())
            && self.take(&mut tail, next, operation)?
        {
            self.taken.insert(next.index());
            tail.made.push(made.clone());
            value = made;
            if tail.activation != Activation::None {
                break;
            }
        }
        Ok(Some(tail))
    }

    /// Takes over what a node does to the last value of the tail, if it is something that a
    /// sparse layer can do.
    fn take(
        &self,
        tail: &mut Tail,
        node: Node<'_>,
        operation: Operation,
    ) -> Result<bool, PackageError> {
        let value = tail.made.last().cloned().unwrap_or_default();
        let activation = match node.op_type() {
            "Add" => return self.take_add(tail, node, &value, operation),
            "BatchNormalization" if tail.added.is_none() => {
                return self.take_normal(tail, node, &value, operation);
            }
            "Relu" => Some(Activation::Relu),
            "LeakyRelu" => {
                Some(Activation::LeakyRelu { slope: node.float("alpha")?.unwrap_or(0.01) })
            }
            "Clip" => clip(self.constants, node, &value)?,
            _ => None,
        };
        tail.activation = activation.unwrap_or(tail.activation);
        Ok(activation.is_some())
    }

    fn take_add(
        &self,
        tail: &mut Tail,
        node: Node<'_>,
        value: &str,
        operation: Operation,
    ) -> Result<bool, PackageError> {
        let Some(added) = node.inputs().iter().find(|input| *input != value) else {
            return Ok(false);
        };
        let spread = match operation {
            // Inputs may be rows without a dimension of batches.
            Operation::Product(_) => Spread { behind: 0, rank: 1 },
            Operation::Convolution { rank, .. } => Spread { behind: rank, rank: rank + 2 },
        };
        if let Some(values) = self.constants.one_for_each(added, operation.outputs(), spread)? {
            tail.affine.add(&values);
            return Ok(true);
        }
        let is_of_images = matches!(operation, Operation::Convolution { .. });
        if !is_of_images || tail.added.is_some() || !self.are_alike(value, added) {
            return Ok(false);
        }
        tail.added = Some(added.clone());
        Ok(true)
    }

    /// Whether two values are known to have the same dimensions.
    fn are_alike(&self, one: &str, other: &str) -> bool {
        let known = |dims: &[Dim]| !dims.contains(&Dim::Unknown);
        let dims = self.shapes.dims(one);
        dims.is_some_and(known) && dims == self.shapes.dims(other)
    }

    /// A normalisation with the mean and variance of the past: `scale (x - mean) / sqrt(variance +
    /// epsilon) + shift`.
    fn take_normal(
        &self,
        tail: &mut Tail,
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
            let spread = Spread { behind: 0, rank: 1 };
            rows.extend(self.constants.one_for_each(name, operation.outputs(), spread)?);
        }
        let ([scale, shift, mean, variance], true) = (&rows[..], x == value && names.len() == 4)
        else {
            return Ok(false);
        };
        let epsilon = node.float("epsilon")?.unwrap_or(1e-5);
        let factor = |(scale, variance): (&f32, &f32)| scale / (variance + epsilon).sqrt();
        let factors: Vec<f32> = scale.iter().zip(variance).map(factor).collect();
        tail.affine.add(&mean.iter().map(|mean| -mean).collect::<Vec<_>>());
        tail.affine.multiply(&factors);
        tail.affine.add(shift);
        Ok(true)
    }
}

/// The bounds are attributes in old versions of the operator, and inputs in later ones.
fn clip(
    constants: Constants<'_>,
    node: Node<'_>,
    value: &str,
) -> Result<Option<Activation>, PackageError> {
    let [x, bounds @ ..] = node.inputs() else { return Ok(None) };
    let mut found = [None; 2];
    for (place, attribute) in ["min", "max"].into_iter().enumerate() {
        found[place] = node.float(attribute)?;
        if let Some(name) = bounds.get(place).filter(|name| !name.is_empty()) {
            let Some(bound) = constants.number(name)? else { return Ok(None) };
            found[place] = Some(bound);
        }
    }
    let [low, high] = found;
    let clip = Activation::Clip { low: low.unwrap_or(f32::MIN), high: high.unwrap_or(f32::MAX) };
    Ok((x == value).then_some(clip))
}
