//! A tensor without its zeros, as codes of a codebook: the form of compressed weights between a
//! package and the kernels.

use skysail_graph::{GraphError, Tensor};

/// A `float32` tensor without its zeros.
///
/// A zero is a value whose bits are all 0. The float -0.0 is held like any other value, so nothing
/// is lost. Values are in row-major order.
///
/// Every constructor checks these invariants. There are as many positions as codes. Positions
/// ascend and lie within the shape. Every code is less than the codebook's length.
#[derive(Debug, Clone, PartialEq)]
pub struct Sparse {
    shape: Vec<u64>,
    codebook: Vec<f32>,
    positions: Vec<u32>,
    codes: Vec<u16>,
}

/// Reason why parts do not make a [`Sparse`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SparseError {
    /// The shape has more elements than 32-bit positions can count.
    #[error("shape {shape:?} has more than 2^32 elements")]
    TooLarge {
        /// The shape.
        shape: Vec<u64>,
    },
    /// The numbers of positions and codes differ.
    #[error("{positions} positions do not go with {codes} codes")]
    Lengths {
        /// The number of positions.
        positions: usize,
        /// The number of codes.
        codes: usize,
    },
    /// A position does not ascend, or is not less than the number of elements.
    #[error("position {position}, the {index}th, does not ascend or lies outside the shape")]
    Position {
        /// Index among the positions, from 0.
        index: usize,
        /// The position.
        position: u32,
    },
    /// A code is outside the codebook.
    #[error("code {code} is outside the codebook of {codebook} values")]
    Code {
        /// The code.
        code: u16,
        /// The codebook's length.
        codebook: usize,
    },
}

impl Sparse {
    /// Creates a tensor of `shape` with the value `codebook[codes[i]]` at the flat index
    /// `positions[i]`.
    ///
    /// # Errors
    /// [`SparseError`] says which invariant does not hold.
    pub fn new(
        shape: Vec<u64>,
        codebook: Vec<f32>,
        positions: Vec<u32>,
        codes: Vec<u16>,
    ) -> Result<Self, SparseError> {
        let Some(count) = element_count(&shape) else {
            return Err(SparseError::TooLarge { shape });
        };
        if positions.len() != codes.len() {
            return Err(SparseError::Lengths { positions: positions.len(), codes: codes.len() });
        }
        let mut next = 0;
        for (index, position) in positions.iter().copied().enumerate() {
            if u64::from(position) < next || u64::from(position) >= count {
                return Err(SparseError::Position { index, position });
            }
            next = u64::from(position) + 1;
        }
        if let Some(code) = codes.iter().find(|code| usize::from(**code) >= codebook.len()) {
            return Err(SparseError::Code { code: *code, codebook: codebook.len() });
        }
        Ok(Self { shape, codebook, positions, codes })
    }

    /// Creates a tensor from the parts that a codec decoded. Codecs keep the invariants, so they
    /// are not checked again.
    pub(crate) fn of_decoded(
        shape: Vec<u64>,
        codebook: Vec<f32>,
        positions: Vec<u32>,
        codes: Vec<u16>,
    ) -> Self {
        debug_assert!(
            Self::new(shape.clone(), codebook.clone(), positions.clone(), codes.clone()).is_ok()
        );
        Self { shape, codebook, positions, codes }
    }

    /// Returns the dimensions; none for a scalar.
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// Returns the distinct values.
    pub fn codebook(&self) -> &[f32] {
        &self.codebook
    }

    /// Returns the flat index of each value, ascending.
    pub fn positions(&self) -> &[u32] {
        &self.positions
    }

    /// Returns the index into the codebook of each value.
    pub fn codes(&self) -> &[u16] {
        &self.codes
    }

    /// Returns the number of elements, zeros included.
    pub fn count(&self) -> u64 {
        element_count(&self.shape).unwrap_or(0)
    }

    /// Returns the share of elements that are held, from 0 to 1; 1 for a tensor without elements.
    pub fn density(&self) -> f64 {
        let count = self.count();
        if count == 0 { 1.0 } else { self.positions.len() as f64 / count as f64 }
    }

    /// Returns the shape, codebook, positions and codes.
    pub fn into_parts(self) -> (Vec<u64>, Vec<f32>, Vec<u32>, Vec<u16>) {
        (self.shape, self.codebook, self.positions, self.codes)
    }

    /// Returns the tensor with its zeros.
    ///
    /// # Errors
    /// `BadShape` when a dimension is larger than ONNX allows.
    pub fn to_dense(&self) -> Result<Tensor, GraphError> {
        let mut values = vec![0.0; self.count() as usize];
        for (position, code) in self.positions.iter().zip(&self.codes) {
            values[*position as usize] = self.codebook[usize::from(*code)];
        }
        Tensor::new(&self.shape, &values)
    }
}

/// Returns the number of elements of a shape, if it is 2^32 at most.
fn element_count(shape: &[u64]) -> Option<u64> {
    if shape.contains(&0) {
        return Some(0);
    }
    let count = shape.iter().try_fold(1_u64, |count, dim| count.checked_mul(*dim))?;
    (count <= 1 << 32).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(positions: &[u32], codes: &[u16]) -> Result<Sparse, SparseError> {
        Sparse::new(vec![2, 3], vec![-1.0, 0.5], positions.to_vec(), codes.to_vec())
    }

    #[test]
    fn dense_values_are_at_their_positions() {
        let sparse = new(&[0, 4, 5], &[1, 0, 1]).unwrap();
        let dense = Tensor::new(&[2, 3], &[0.5_f32, 0.0, 0.0, 0.0, -1.0, 0.5]).unwrap();
        assert_eq!(sparse.to_dense().unwrap(), dense);
        assert_eq!((sparse.count(), sparse.density()), (6, 0.5));
        assert_eq!(sparse.into_parts().1, [-1.0, 0.5]);
    }

    #[test]
    fn the_invariants_are_checked() {
        assert!(new(&[], &[]).is_ok());
        let lengths = new(&[0], &[]).unwrap_err().to_string();
        assert_eq!(lengths, "1 positions do not go with 0 codes");
        assert_eq!(new(&[1, 1], &[0, 0]), Err(SparseError::Position { index: 1, position: 1 }));
        assert!(new(&[6], &[0]).is_err());
        assert_eq!(new(&[5], &[2]), Err(SparseError::Code { code: 2, codebook: 2 }));
        let huge = Sparse::new(vec![1 << 17, 1 << 17], vec![], vec![], vec![]);
        assert!(matches!(huge, Err(SparseError::TooLarge { .. })));
        let none = Sparse::new(vec![0, u64::MAX, u64::MAX], vec![], vec![], vec![]).unwrap();
        assert_eq!((none.count(), none.density()), (0, 1.0));
    }
}
