//! The small constants around a layer.

use skysail_compression::{Package, PackageError};
use skysail_graph::{ElementType, Graph, Tensor};
use std::collections::HashSet;

/// The constants of a package: its tensors, and what `Constant` nodes of its graph make.
#[derive(Clone, Copy)]
pub(super) struct Constants<'a> {
    pub(super) package: &'a Package,
    pub(super) graph: Graph<'a>,
    /// Tensors that a request can bring other values for.
    pub(super) optional: &'a HashSet<String>,
}

/// Where a value that has one number for each output of a layer has its dimension of outputs.
#[derive(Clone, Copy)]
pub(super) struct Spread {
    /// Dimensions behind it.
    pub(super) behind: usize,
    /// Dimensions of all that it is added to, as far as they are known.
    pub(super) rank: usize,
}

impl Constants<'_> {
    /// A tensor, if it is constant and of float32.
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

    /// A constant that is one number.
    pub(super) fn number(self, name: &str) -> Result<Option<f32>, PackageError> {
        let values = self.floats(name)?.map(|tensor| values(&tensor));
        Ok(values.and_then(|values| <[f32; 1]>::try_from(values).ok()).map(|[value]| value))
    }

    /// What a constant is for each of `outputs`. `None` when it is not constant, or not the same
    /// at all places of an output.
    pub(super) fn one_for_each(
        self,
        name: &str,
        outputs: usize,
        spread: Spread,
    ) -> Result<Option<Vec<f32>>, PackageError> {
        let Some(tensor) = self.floats(name)? else { return Ok(None) };
        let (shape, values) = (tensor.shape(), values(&tensor));
        let is_own = |(place, size): (usize, &u64)| place == spread.behind || *size == 1;
        let fits = shape.len() <= spread.rank && shape.iter().rev().enumerate().all(is_own);
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
