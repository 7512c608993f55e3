//! Proven dimensions of a graph's outputs.

use crate::Dim;

/// Dimensions of an output, as far as they are proven, as expressions of the inputs' sizes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OutputShape {
    dims: Option<Vec<Dim>>,
    /// True if they hold only where no input dimension is zero.
    excludes_zero: bool,
}

impl OutputShape {
    pub(super) fn of(dims: Option<&[Dim]>, excludes_zero: bool) -> Self {
        let is_known = |dim: &Dim| matches!(dim, Dim::Fixed(_) | Dim::Computed(_));
        let known = dims.filter(|dims| dims.iter().all(is_known));
        Self { dims: known.map(<[Dim]>::to_vec), excludes_zero }
    }

    /// Computes the output's dimensions for inputs of these dimensions, in the order of
    /// [`Graph::inputs`](crate::Graph::inputs). `None` if they are not proven.
    pub fn sizes(&self, inputs: &[&[usize]]) -> Option<Vec<usize>> {
        if self.excludes_zero && inputs.iter().any(|input| input.contains(&0)) {
            return None;
        }
        let size = |dim: &Dim| match dim {
            Dim::Fixed(size) => usize::try_from(*size).ok(),
            Dim::Computed(size) => size.value(inputs),
            Dim::Symbol(_) | Dim::Unknown => None,
        };
        self.dims.as_ref()?.iter().map(size).collect()
    }
}
