//! Reads the small constants around a layer.

use skysail_compression::{Package, PackageError};
use skysail_graph::{ElementType, Graph, Tensor};
use std::collections::HashSet;

/// Constants of a package: its tensors, and the outputs of its graph's `Constant` nodes.
#[derive(Clone, Copy)]
pub(super) struct Constants<'a> {
    pub(super) package: &'a Package,
    pub(super) graph: Graph<'a>,
    /// Tensors that are optional inputs, so that a request can replace them.
    pub(super) optional: &'a HashSet<String>,
}

/// Position of the dimension of outputs in a value that has one number for each output of a layer.
#[derive(Clone, Copy)]
pub(super) struct Broadcast {
    /// Dimensions after it.
    pub(super) after: usize,
    /// Dimensions of the value that it is added to, at least.
    pub(super) rank: usize,
}

impl Constants<'_> {
    /// A constant tensor of float32; `None` for others.
    fn floats(self, name: &str) -> Result<Option<Tensor>, PackageError> {
        if self.optional.contains(name) {
            return Ok(None);
        }
        let is_float = |element| element == ElementType::Float32;
        let tensors = self.package.tensors();
        Ok(match tensors.iter().rfind(|entry| entry.name == name) {
            Some(entry) if is_float(entry.element) => Some(self.package.tensor(name)?),
            Some(_) => None,
            None => {
                let made = self.graph.constant(name).filter(|made| is_float(made.element()));
                made.map(|made| made.to_tensor()).transpose()?
            }
        })
    }

    /// A constant of one number; `None` for others.
    pub(super) fn number(self, name: &str) -> Result<Option<f32>, PackageError> {
        let values = self.floats(name)?.map(|tensor| values(&tensor));
        Ok(values.and_then(|values| <[f32; 1]>::try_from(values).ok()).map(|[value]| value))
    }

    /// The values of a constant for each of `outputs`. `None` if it is not constant, or varies
    /// within an output.
    pub(super) fn per_output(
        self,
        name: &str,
        outputs: usize,
        broadcast: Broadcast,
    ) -> Result<Option<Vec<f32>>, PackageError> {
        let Some(tensor) = self.floats(name)? else { return Ok(None) };
        let (shape, values) = (tensor.shape(), values(&tensor));
        let is_own = |(index, size): (usize, &u64)| index == broadcast.after || *size == 1;
        let fits = shape.len() <= broadcast.rank && shape.iter().rev().enumerate().all(is_own);
        Ok(match &values[..] {
            [value] if fits => Some(vec![*value; outputs]),
            values if fits && values.len() == outputs => Some(values.to_vec()),
            _ => None,
        })
    }
}

/// The values of a tensor of float32.
pub(super) fn values(tensor: &Tensor) -> Vec<f32> {
    let (values, _) = tensor.bytes().as_chunks();
    values.iter().copied().map(f32::from_le_bytes).collect()
}
