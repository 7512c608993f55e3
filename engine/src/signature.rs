//! What a model takes and gives: names, datatypes and dimensions.

use crate::padding::Padding;
use crate::tensor::{DataType, Shape};
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
}

impl TensorSpec {
    /// The dimensions as the protocol writes them: -1 where any size will do.
    pub fn wire_dims(&self) -> impl Iterator<Item = i64> {
        self.dims.iter().map(|dim| dim.map_or(-1, |size| i64::try_from(size).unwrap_or(i64::MAX)))
    }

    /// Whether a tensor of this shape fits.
    pub fn accepts(&self, shape: &[usize]) -> bool {
        shape.len() == self.dims.len()
            && self.dims.iter().zip(shape).all(|(dim, size)| dim.is_none_or(|dim| dim == *size))
    }

    /// The full shape, if all that is left open is the first dimension, set to `rows`.
    pub fn shape_for_rows(&self, rows: usize) -> Option<Shape> {
        let (first, rest) = self.dims.split_first()?;
        let rest: Option<Shape> = rest.iter().copied().collect();
        let mut shape = rest?;
        shape.insert(0, first.unwrap_or(rows));
        Some(shape)
    }
}

/// All inputs and outputs of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Inputs in the graph's order.
    pub inputs: Vec<TensorSpec>,
    /// Outputs in the graph's order.
    pub outputs: Vec<TensorSpec>,
    /// Rows of the largest batch; 0 when the first dimension is no batch dimension, and every
    /// request runs alone.
    pub batch_rows_max: usize,
    /// Whether a single request may have more rows than that, and then runs alone.
    pub larger_requests_run_alone: bool,
    /// How requests of different sizes share a run; `None` when they do not.
    pub padding: Option<Arc<Padding>>,
}

impl Signature {
    /// Whether requests can share a run.
    pub fn batches(&self) -> bool {
        self.batch_rows_max > 0
    }

    /// The place of an input among the inputs.
    pub fn input_index(&self, name: &str) -> Option<usize> {
        self.inputs.iter().position(|spec| &*spec.name == name)
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
    use smallvec::smallvec;

    #[test]
    fn a_spec_accepts_any_size_only_where_a_dimension_is_open() {
        let spec = TensorSpec {
            name: "x".into(),
            datatype: DataType::Fp32,
            dims: smallvec![None, Some(3)],
            dim_names: vec![],
        };
        assert!(spec.accepts(&[7, 3]) && spec.accepts(&[0, 3]));
        assert!(!spec.accepts(&[7, 4]) && !spec.accepts(&[3]));
        assert_eq!(spec.shape_for_rows(5).as_deref(), Some(&[5, 3][..]));
    }
}
