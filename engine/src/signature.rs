//! What a model takes and gives: names, datatypes and dimensions.

use crate::tensor::{DataType, Shape};
use skysail_graph::OutputShape;
use smallvec::SmallVec;
use std::fmt;
use std::sync::Arc;

/// One input or output of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// Its name, which may hold any character.
    pub name: Arc<str>,
    /// Type of its elements.
    pub datatype: DataType,
    /// Its dimensions, the batch dimension included; `None` where any size will do.
    pub dims: SmallVec<[Option<usize>; 4]>,
    /// The graph's names of the dimensions, empty where there is none.
    pub dim_names: Vec<String>,
    /// Whether the graph does not say how many dimensions there are; `dims` is then empty.
    pub any_rank: bool,
}

impl TensorSpec {
    /// The dimensions as the protocol writes them: -1 where any size will do, and a single -1
    /// where any number of dimensions will do.
    pub fn wire_dims(&self) -> impl Iterator<Item = i64> {
        let wire = |dim: usize| i64::try_from(dim).unwrap_or(i64::MAX);
        let dims = self.dims.iter().map(move |dim| dim.map_or(-1, wire));
        dims.chain(self.any_rank.then_some(-1))
    }

    /// The same without the batch dimension of a model that batches.
    pub fn wire_dims_of_row(&self, batches: bool) -> impl Iterator<Item = i64> {
        self.wire_dims().skip(usize::from(batches && !self.any_rank))
    }

    /// Whether a tensor of this shape fits.
    pub fn accepts(&self, shape: &[usize]) -> bool {
        let fits = |(dim, size): (&Option<usize>, &usize)| dim.is_none_or(|dim| dim == *size);
        self.any_rank || (shape.len() == self.dims.len() && self.dims.iter().zip(shape).all(fits))
    }
}

/// The shapes of outputs as far as a proof on the graph gives them. What a graph declares is no
/// proof: exporters write sizes that were true of one example, or of none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProvenShapes {
    /// Whatever the shapes of the inputs; one for each output, or none at all.
    pub(crate) any_rows: Arc<[OutputShape]>,
    /// Where all inputs have the same number of rows.
    pub(crate) same_rows: Arc<[OutputShape]>,
}

/// All inputs and outputs of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signature {
    /// Inputs that every request brings, in the graph's order.
    pub inputs: Vec<TensorSpec>,
    /// Inputs that have a default in the graph, in its order. A request that brings one runs alone:
    /// no other shares its value.
    pub optional_inputs: Vec<TensorSpec>,
    /// Outputs in the graph's order.
    pub outputs: Vec<TensorSpec>,
    /// What is proven of the outputs' shapes.
    pub proven: ProvenShapes,
}

impl Signature {
    /// The place of an input among the inputs.
    pub fn input_index(&self, name: &str) -> Option<usize> {
        self.inputs.iter().position(|spec| &*spec.name == name)
    }

    /// The place of an input among those that have a default.
    pub fn optional_input_index(&self, name: &str) -> Option<usize> {
        self.optional_inputs.iter().position(|spec| &*spec.name == name)
    }

    /// Returns the shape that an output is proven to have for inputs of these shapes, while every
    /// optional input has its default.
    pub(crate) fn output_shape(&self, output: usize, inputs: &[&[usize]]) -> Option<Shape> {
        let ProvenShapes { any_rows, same_rows } = &self.proven;
        let of = |proven: &[OutputShape]| proven.get(output)?.sizes(inputs);
        let rows = inputs.first().and_then(|first| first.first());
        let have_same_rows = rows.is_some() && inputs.iter().all(|shape| shape.first() == rows);
        let shape = have_same_rows.then(|| of(same_rows)).flatten().or_else(|| of(any_rows));
        shape.map(Shape::from_vec)
    }

    /// The place of an output among the outputs.
    pub fn output_index(&self, name: &str) -> Option<usize> {
        self.outputs.iter().position(|spec| &*spec.name == name)
    }
}

/// Writes dimensions as `[-1,3,224]`.
pub(crate) fn list(dims: impl Iterator<Item = impl fmt::Display>) -> String {
    let dims: Vec<String> = dims.map(|dim| dim.to_string()).collect();
    format!("[{}]", dims.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(dims: &[Option<usize>], any_rank: bool) -> TensorSpec {
        let (name, datatype, dim_names) = ("x".into(), DataType::Fp32, vec![]);
        TensorSpec { name, datatype, dims: dims.into(), dim_names, any_rank }
    }

    fn wire(spec: &TensorSpec, batches: bool) -> Vec<i64> {
        spec.wire_dims_of_row(batches).collect()
    }

    #[test]
    fn a_spec_accepts_any_size_only_where_a_dimension_is_open() {
        let spec = spec(&[None, Some(3)], false);
        assert!(spec.accepts(&[7, 3]) && spec.accepts(&[0, 3]));
        assert!(!spec.accepts(&[7, 4]) && !spec.accepts(&[3]));
        assert_eq!((wire(&spec, false), wire(&spec, true)), (vec![-1, 3], vec![3]));
    }

    #[test]
    fn a_scalar_is_not_a_tensor_of_any_rank() {
        let (scalar, any) = (spec(&[], false), spec(&[], true));
        for shape in [&[][..], &[2], &[2, 3]] {
            assert!(any.accepts(shape), "{shape:?}");
            assert_eq!(scalar.accepts(shape), shape.is_empty(), "{shape:?}");
        }
        assert_eq!((wire(&scalar, false), wire(&any, false)), (vec![], vec![-1]));
        assert_eq!(wire(&any, true), [-1]);
    }
}
