//! Shapes that clients see, where they differ from the graph's. Only the shape changes: the elements
//! stay in their order.

use crate::config::ExpectedTensor;
use crate::signature::{Signature, TensorSpec};
use crate::tensor::Shape;
use smallvec::SmallVec;

/// Dimensions with the batch dimension; `None` for any size.
type Dims = SmallVec<[Option<usize>; 4]>;

/// Two shapes of one tensor, whose open dimensions correspond in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reshape {
    outer: Dims,
    inner: Dims,
}

impl Reshape {
    /// Makes it of a declaration whose two shapes have the same elements. A dimension that the
    /// graph fixes is fixed on both sides.
    fn new(tensor: &ExpectedTensor, graph: &[Option<usize>], has_rows: bool) -> Option<Self> {
        let with_rows = |dims: &[i64]| -> Dims {
            let rows = has_rows.then_some(None);
            rows.into_iter().chain(dims.iter().map(|&dim| usize::try_from(dim).ok())).collect()
        };
        let mut inner = with_rows(tensor.reshape.as_ref()?);
        let mut outer = with_rows(tensor.dims.as_deref().unwrap_or_default());
        let mut open = outer.iter_mut().filter(|dim| dim.is_none());
        for (at, inner) in inner.iter_mut().enumerate().filter(|(_, dim)| dim.is_none()) {
            let fixed = graph.get(at).copied().flatten();
            (*inner, *open.next()?) = (fixed, fixed);
        }
        Some(Self { outer, inner })
    }

    /// Dimensions that clients see.
    pub(crate) fn outer_dims(&self) -> &[Option<usize>] {
        &self.outer
    }

    /// Shape in the graph of a tensor with this outer shape; `None` if that does not fit.
    pub(crate) fn inner(&self, outer: &[usize]) -> Option<Shape> {
        convert(&self.outer, &self.inner, outer)
    }

    /// Outer shape of a tensor with this shape in the graph; `None` if that does not fit.
    pub(crate) fn outer(&self, inner: &[usize]) -> Option<Shape> {
        convert(&self.inner, &self.outer, inner)
    }
}

fn convert(from: &Dims, to: &Dims, shape: &[usize]) -> Option<Shape> {
    if shape.len() != from.len() {
        return None;
    }
    let mut open: Shape = SmallVec::new();
    for (dim, &size) in from.iter().zip(shape) {
        match dim {
            None => open.push(size),
            Some(fixed) if *fixed != size => return None,
            Some(_) => {}
        }
    }
    let mut open = open.into_iter();
    to.iter().map(|dim| dim.or_else(|| open.next())).collect()
}

/// Gives the inputs and outputs the shapes that clients see.
pub(crate) fn apply(
    signature: &mut Signature,
    inputs: &[ExpectedTensor],
    outputs: &[ExpectedTensor],
    has_rows: bool,
) {
    let declared = |side: &[ExpectedTensor], spec: &TensorSpec, has_rows: bool| {
        let tensor = side.iter().find(|tensor| tensor.name == *spec.name)?;
        Reshape::new(tensor, &spec.dims, has_rows).map(Box::new)
    };
    for spec in &mut signature.inputs {
        spec.reshape = declared(inputs, spec, has_rows);
    }
    for spec in &mut signature.optional_inputs {
        // Its declaration may leave out a batch dimension or not.
        let rank = inputs.iter().find(|tensor| tensor.name == *spec.name);
        let rank = rank.and_then(|tensor| tensor.reshape.as_ref()).map(Vec::len);
        let has_rows = has_rows && rank.is_some_and(|rank| rank + 1 == spec.dims.len());
        spec.reshape = declared(inputs, spec, has_rows);
    }
    for spec in &mut signature.outputs {
        spec.reshape = declared(outputs, spec, has_rows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reshape(dims: &[i64], shape: &[i64], graph: &[Option<usize>], has_rows: bool) -> Reshape {
        let tensor = ExpectedTensor {
            name: "x".into(),
            datatype: None,
            dims: Some(dims.into()),
            reshape: Some(shape.into()),
            optional: false,
        };
        Reshape::new(&tensor, graph, has_rows).unwrap()
    }

    #[test]
    fn shapes_are_converted_both_ways() {
        let scalar = reshape(&[1], &[], &[None], true);
        let image = reshape(&[3, -1, 4], &[1, 3, -1, 4], &[Some(1), Some(3), None, Some(4)], false);
        let fixed = reshape(&[-1, 2], &[2, -1, 1], &[None, Some(2), Some(5), Some(1)], true);
        for (reshape, outer, inner) in [
            (&scalar, &[7, 1][..], &[7][..]),
            (&image, &[3, 9, 4], &[1, 3, 9, 4]),
            (&fixed, &[7, 5, 2], &[7, 2, 5, 1]),
        ] {
            assert_eq!(reshape.inner(outer).as_deref(), Some(inner));
            assert_eq!(reshape.outer(inner).as_deref(), Some(outer));
        }
        for (reshape, wrong) in
            [(&scalar, &[7][..]), (&scalar, &[7, 2]), (&image, &[3, 9, 5]), (&fixed, &[7, 6, 2])]
        {
            assert_eq!(reshape.inner(wrong), None, "{wrong:?}");
        }
        assert_eq!(fixed.outer_dims(), [None, Some(5), Some(2)]);
    }
}
