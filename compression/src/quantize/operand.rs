//! A weight as input of its node: transposed, reshaped and widened by the nodes between.

use crate::CompressError;
use crate::layers::floats;
use sha2::{Digest, Sha256};
use skysail_graph::{Dim, Node, Shapes, Weight};

/// The values of a weight, in row-major order, and its dimensions.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Operand {
    pub(super) values: Vec<f32>,
    pub(super) dims: Vec<usize>,
}

impl Operand {
    /// Returns the operand of the node of `weight`. `None` where dimensions are unknown, or a node
    /// between computes.
    ///
    /// # Errors
    /// `NotFinite`, and `Graph` when the values cannot be read.
    pub(super) fn of(weight: &Weight<'_>, shapes: &Shapes) -> Result<Option<Self>, CompressError> {
        let tensor = weight.tensor;
        let values = floats(tensor)?.into_owned();
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            let (layer, value) = (tensor.name().to_owned(), values[index]);
            return Err(CompressError::NotFinite { layer, index, value });
        }
        // The values were read, so each dimension fits.
        let dims = tensor.shape()?.into_iter().map(|dim| dim as usize).collect();
        let mut operand = Self { values, dims };
        for node in &weight.through {
            if !operand.pass(*node, shapes)? {
                return Ok(None);
            }
        }
        Ok(Some(operand))
    }

    /// Returns a hash of the dimensions and the values.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        self.dims.iter().for_each(|dim| digest.update(dim.to_le_bytes()));
        digest.update(bytemuck::cast_slice::<f32, u8>(&self.values));
        digest.finalize().into()
    }

    /// Applies `node`, and returns true if its effect is known.
    fn pass(&mut self, node: Node<'_>, shapes: &Shapes) -> Result<bool, CompressError> {
        match node.op_type() {
            "Identity" | "Cast" => Ok(true),
            "Transpose" => {
                let rank = self.dims.len();
                let perm: Option<Vec<usize>> = match node.ints("perm")? {
                    None => Some((0..rank).rev().collect()),
                    Some(perm) => perm.iter().map(|axis| usize::try_from(*axis).ok()).collect(),
                };
                Ok(perm.is_some_and(|perm| self.transpose(&perm)))
            }
            "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => {
                let made = node.outputs().first().and_then(|made| shapes.dims(made));
                Ok(made.and_then(fixed).is_some_and(|dims| self.reshape(dims)))
            }
            _ => Ok(false),
        }
    }

    fn reshape(&mut self, dims: Vec<usize>) -> bool {
        let fits = count(&dims) == Some(self.values.len());
        if fits {
            self.dims = dims;
        }
        fits
    }

    /// Moves dimension `perm[i]` to index `i`. Returns false if `perm` is no permutation of all
    /// dimensions.
    pub(super) fn transpose(&mut self, perm: &[usize]) -> bool {
        let mut sorted = perm.to_vec();
        sorted.sort_unstable();
        if !sorted.iter().copied().eq(0..self.dims.len()) {
            return false;
        }
        let dims: Vec<usize> = perm.iter().map(|axis| self.dims[*axis]).collect();
        let old_strides = strides(&self.dims);
        let steps: Vec<usize> = perm.iter().map(|axis| old_strides[*axis]).collect();
        let new_strides = strides(&dims);
        let old_place = |position: usize| {
            let digits = dims.iter().zip(&new_strides).zip(&steps);
            digits.map(|((dim, stride), step)| position / stride % dim * step).sum::<usize>()
        };
        self.values =
            (0..self.values.len()).map(|position| self.values[old_place(position)]).collect();
        self.dims = dims;
        true
    }
}

/// Returns the distance between neighbours, dimension by dimension; at least 1.
fn strides(dims: &[usize]) -> Vec<usize> {
    let mut stride = 1;
    let mut strides: Vec<usize> = dims
        .iter()
        .rev()
        .map(|dim| {
            let own = stride;
            stride *= (*dim).max(1);
            own
        })
        .collect();
    strides.reverse();
    strides
}

fn fixed(dims: &[Dim]) -> Option<Vec<usize>> {
    let size = |dim: &Dim| match dim {
        Dim::Fixed(size) => usize::try_from(*size).ok(),
        Dim::Symbol(_) | Dim::Computed(_) | Dim::Unknown => None,
    };
    dims.iter().map(size).collect()
}

fn count(dims: &[usize]) -> Option<usize> {
    dims.iter().try_fold(1_usize, |count, dim| count.checked_mul(*dim))
}

#[cfg(test)]
mod tests {
    use super::*;
    use skysail_graph::{Attribute, ElementType, GraphBuilder, Tensor};

    #[test]
    fn dimensions_are_permuted() {
        let values: Vec<f32> = (0..24).map(|value| value as f32).collect();
        let mut operand = Operand { values, dims: vec![2, 3, 4] };
        assert!(operand.transpose(&[2, 0, 1]));
        assert_eq!(operand.dims, [4, 2, 3]);
        assert_eq!(operand.values[..7], [0.0, 4.0, 8.0, 12.0, 16.0, 20.0, 1.0]);
        assert!(!operand.transpose(&[0, 0, 1]) && !operand.transpose(&[0]));
        let mut empty = Operand { values: vec![], dims: vec![0, 2] };
        assert!(empty.transpose(&[1, 0]) && empty.dims == [2, 0]);
    }

    #[test]
    fn nodes_before_the_product_are_applied() {
        let mut builder = GraphBuilder::new("between");
        let halves = crate::layers::to_f16(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        builder
            .input("x", ElementType::Float32, &[Dim::from("batch"), Dim::from(2)])
            .initializer("w", Tensor::new(&[3, 1, 2], &halves).unwrap())
            .initializer("shape", Tensor::new(&[2], &[3_i64, 2]).unwrap())
            .node("Cast", &["w"], &["wide"], &[("to", Attribute::Int(1))])
            .node("Reshape", &["wide", "shape"], &["flat"], &[])
            .node("Transpose", &["flat"], &["turned"], &[])
            .node("MatMul", &["x", "turned"], &["y"], &[])
            .output("y", ElementType::Float32, &[Dim::from("batch"), Dim::from(3)]);
        let model = builder.finish().unwrap();
        let (weights, shapes) = (model.graph().weights().unwrap(), model.graph().shapes());
        let operand = Operand::of(&weights[0], &shapes).unwrap().unwrap();
        let expected = Operand { values: vec![1.0, 3.0, 5.0, 2.0, 4.0, 6.0], dims: vec![2, 3] };
        assert_eq!(operand, expected);
    }
}
