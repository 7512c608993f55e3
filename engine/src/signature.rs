//! Signature of a model: names, datatypes and dimensions of its inputs and outputs.

use crate::reshape::Reshape;
use crate::tensor::{DataType, Shape};
use skysail_graph::OutputShape;
use smallvec::SmallVec;
use std::fmt;
use std::sync::Arc;

/// An input or output of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// Name, which may hold any character.
    pub name: Arc<str>,
    /// Datatype of the elements.
    pub datatype: DataType,
    /// Dimensions, including the batch dimension; `None` for any size.
    pub dims: SmallVec<[Option<usize>; 4]>,
    /// Names of the dimensions in the graph; empty for those without a name.
    pub dim_names: Vec<String>,
    /// True if the graph leaves the number of dimensions open; `dims` is then empty.
    pub any_rank: bool,
    /// Shape that clients see, if it is another than the graph's, which `dims` is.
    pub reshape: Option<Box<Reshape>>,
}

impl TensorSpec {
    /// Dimensions as clients see them: -1 for any size, and a single -1 for any rank.
    pub fn wire_dims(&self) -> impl Iterator<Item = i64> {
        let outer = self.reshape.as_ref().map(|reshape| reshape.outer_dims());
        let any_rank = self.any_rank && outer.is_none();
        wire(outer.unwrap_or(&self.dims)).chain(any_rank.then_some(-1))
    }

    /// Dimensions in the graph in the same form, without the batch dimension of a model that batches.
    pub(crate) fn graph_dims_of_row(&self, batches: bool) -> impl Iterator<Item = i64> {
        wire(&self.dims).skip(usize::from(batches))
    }

    /// The same dimensions without the batch dimension of a model that batches.
    pub fn wire_dims_of_row(&self, batches: bool) -> impl Iterator<Item = i64> {
        self.wire_dims().skip(usize::from(batches && !self.any_rank))
    }

    /// True if a tensor of this shape fits into the graph.
    pub fn accepts(&self, shape: &[usize]) -> bool {
        let fits = |(dim, size): (&Option<usize>, &usize)| dim.is_none_or(|dim| dim == *size);
        self.any_rank || (shape.len() == self.dims.len() && self.dims.iter().zip(shape).all(fits))
    }

    /// Shape in the graph of a client's tensor; `None` if that does not fit.
    pub(crate) fn inner_shape(&self, shape: Shape) -> Option<Shape> {
        let inner = match &self.reshape {
            None => shape,
            Some(reshape) => reshape.inner(&shape)?,
        };
        self.accepts(&inner).then_some(inner)
    }

    /// Shape that clients see of a tensor of the graph; `None` if that does not fit.
    pub(crate) fn outer_shape(&self, shape: Shape) -> Option<Shape> {
        match &self.reshape {
            None => Some(shape),
            Some(reshape) => reshape.outer(&shape),
        }
    }
}

fn wire(dims: &[Option<usize>]) -> impl Iterator<Item = i64> {
    let size = |dim: usize| i64::try_from(dim).unwrap_or(i64::MAX);
    dims.iter().map(move |dim| dim.map_or(-1, size))
}

/// Shapes of outputs that are proven from the graph. Declared shapes are no proof: some exporters
/// write sizes of a single example, or wrong ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProvenShapes {
    /// Shapes for any shapes of the inputs: one for each output, or none at all.
    pub(crate) any_rows: Arc<[OutputShape]>,
    /// Shapes for inputs with the same number of rows.
    pub(crate) same_rows: Arc<[OutputShape]>,
}

/// All inputs and outputs of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signature {
    /// Inputs that every request must have, in the graph's order.
    pub inputs: Vec<TensorSpec>,
    /// Inputs that have a default in the graph, in its order. A request with such an input runs alone,
    /// as no other shares its value.
    pub optional_inputs: Vec<TensorSpec>,
    /// Outputs, in the graph's order.
    pub outputs: Vec<TensorSpec>,
    /// Proven shapes of outputs.
    pub proven: ProvenShapes,
}

impl Signature {
    /// Index of an input.
    pub fn input_index(&self, name: &str) -> Option<usize> {
        self.inputs.iter().position(|spec| &*spec.name == name)
    }

    /// Index of an optional input.
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

    /// Index of an output.
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
        TensorSpec { name, datatype, dims: dims.into(), dim_names, any_rank, reshape: None }
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
