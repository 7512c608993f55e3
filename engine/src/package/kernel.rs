//! Sparse kernels of a layer's weights.

use super::constants::values;
use super::layer::Candidate;
use super::operation::{Operation, Product};
use skysail_compression::{Package, PackageError, Sparse};
use skysail_graph::{GraphError, Tensor};
use skysail_kernels::{
    Formats, KernelError, OperatorWeights, SparseConv, SparseMatrix, SparseWeights,
};
use std::sync::Arc;

/// Weights of a layer as stored in a package.
#[derive(Debug)]
pub(super) enum Values {
    /// Non-zero weights with a codebook.
    Sparse(Sparse),
    /// All weights, which have too many different values for a codebook.
    Dense(Tensor),
}

/// Kernel that multiplies by a layer's non-zero weights.
#[derive(Clone, Debug)]
pub(super) enum Kernel {
    Product(Arc<SparseMatrix>),
    Convolution(Arc<SparseConv>),
}

impl Kernel {
    /// Bytes of memory that the kernel takes.
    pub(super) fn bytes(&self) -> u64 {
        let bytes = match self {
            Self::Product(matrix) => matrix.bytes(),
            Self::Convolution(convolution) => convolution.bytes(),
        };
        bytes as u64
    }

    /// Adds the kernel to the weights of custom operators, and returns its operator's name.
    pub(super) fn register(&self, name: &str, weights: &mut OperatorWeights) -> &'static str {
        match self {
            Self::Product(matrix) => {
                weights.matrices.insert(name.to_owned(), Arc::clone(matrix));
                "SparseMatMul"
            }
            Self::Convolution(convolution) => {
                weights.convolutions.insert(name.to_owned(), Arc::clone(convolution));
                "SparseConv"
            }
        }
    }
}

impl Values {
    pub(super) fn read(package: &Package, name: &str) -> Result<Self, PackageError> {
        Ok(match package.sparse(name)? {
            Some(sparse) => Self::Sparse(sparse),
            None => Self::Dense(package.tensor(name)?),
        })
    }

    /// The whole tensor.
    pub(super) fn to_dense(&self) -> Result<Tensor, GraphError> {
        match self {
            Self::Sparse(sparse) => sparse.to_dense(),
            Self::Dense(tensor) => Ok(tensor.clone()),
        }
    }

    /// Makes a kernel of these weights for batches of these sizes.
    pub(super) fn kernel(
        &self,
        layer: &Candidate,
        batches: &[usize],
    ) -> Result<Kernel, KernelError> {
        let weights = self.weights(layer)?;
        Ok(match layer.operation {
            Operation::Product(_) => {
                let formats = Formats::for_batches(batches.iter().copied());
                Kernel::Product(Arc::new(SparseMatrix::new(&weights, formats)))
            }
            Operation::Convolution { convolution, .. } => {
                Kernel::Convolution(Arc::new(SparseConv::new(&weights, convolution)?))
            }
        })
    }

    fn weights(&self, layer: &Candidate) -> Result<SparseWeights, KernelError> {
        let operation = layer.operation;
        let (outputs, inputs) = (operation.outputs(), operation.inputs());
        let map = PositionMap::new(operation);
        let scale = layer.epilogue.affine.scale.as_deref();
        match (self, scale) {
            (Self::Sparse(sparse), None) => {
                let codes = sparse.codes().iter().copied();
                let entries = map.zip(sparse.positions().iter().copied(), codes);
                SparseWeights::coded(outputs, inputs, sparse.codebook(), entries)
            }
            (Self::Sparse(sparse), Some([factor, factors @ ..]))
                if factors.iter().all(|other| other == factor) =>
            {
                let codebook: Vec<f32> = sparse.codebook().iter().map(|w| w * factor).collect();
                let codes = sparse.codes().iter().copied();
                let entries = map.zip(sparse.positions().iter().copied(), codes);
                SparseWeights::coded(outputs, inputs, &codebook, entries)
            }
            (Self::Sparse(sparse), Some(scale)) => {
                let value = |code: &u16| sparse.codebook().get(usize::from(*code)).copied();
                let values = sparse.codes().iter().map(|code| value(code).unwrap_or_default());
                let entries = map.zip(sparse.positions().iter().copied(), values);
                SparseWeights::plain(outputs, inputs, scaled(entries, Some(scale)))
            }
            (Self::Dense(tensor), scale) => {
                let values = values(tensor);
                let kept = (0_u32..).zip(values.iter().copied()).filter(|(_, value)| *value != 0.0);
                let entries = map.zip(kept.clone().map(|(at, _)| at), kept.map(|(_, value)| value));
                SparseWeights::plain(outputs, inputs, scaled(entries, scale))
            }
        }
    }
}

/// Multiplies each entry by the factor of its output.
fn scaled<'a>(
    entries: impl Iterator<Item = (u32, u32, f32)> + Clone + 'a,
    scale: Option<&'a [f32]>,
) -> impl Iterator<Item = (u32, u32, f32)> + Clone + 'a {
    entries.map(move |(output, input, value)| {
        let factor = scale.and_then(|scale| scale.get(output as usize)).copied().unwrap_or(1.0);
        (output, input, value * factor)
    })
}

/// Converts the ascending positions of a tensor to outputs and inputs.
#[derive(Clone, Copy)]
struct PositionMap {
    /// Elements in a row of the tensor.
    row_len: u64,
    by_inputs: bool,
}

impl PositionMap {
    fn new(operation: Operation) -> Self {
        let by_inputs = matches!(operation, Operation::Product(Product { by_inputs: true, .. }));
        let row_len = if by_inputs { operation.outputs() } else { operation.inputs() };
        Self { row_len: row_len as u64, by_inputs }
    }

    /// Entries of a matrix: output, input and payload.
    fn zip<T>(
        self,
        positions: impl Iterator<Item = u32> + Clone,
        payloads: impl Iterator<Item = T> + Clone,
    ) -> impl Iterator<Item = (u32, u32, T)> + Clone {
        // Stepping from row to row is cheaper than a division for each position.
        let (mut row, mut start) = (0_u32, 0_u64);
        let at = move |position: u32| {
            let position = u64::from(position);
            while position >= start + self.row_len && self.row_len > 0 {
                row += 1;
                start += self.row_len;
            }
            let column = position.saturating_sub(start) as u32;
            if self.by_inputs { (column, row) } else { (row, column) }
        };
        positions.map(at).zip(payloads).map(|((output, input), payload)| (output, input, payload))
    }
}

#[cfg(test)]
mod tests {
    use super::super::epilogue::{Affine, Epilogue};
    use super::super::operation::Product;
    use super::*;
    use skysail_kernels::Activation;

    fn candidate(by_inputs: bool, scale: Option<Vec<f32>>) -> Candidate {
        let product = Product { outputs: 2, inputs: 3, by_inputs };
        let affine = Affine { scale, bias: None };
        let outputs = vec!["y".into()];
        let epilogue = Epilogue { outputs, affine, residual: None, activation: Activation::None };
        Candidate { operation: Operation::Product(product), input: "x".into(), epilogue }
    }

    fn entries(weights: &SparseWeights) -> Vec<(usize, u32, f32)> {
        let of = |output| weights.of_output(output).map(move |(input, w)| (output, input, w));
        (0..weights.outputs()).flat_map(of).collect()
    }

    #[test]
    fn sparse_and_dense_values_give_the_same_matrix() {
        // A row of three weights for each output.
        let sparse =
            Sparse::new(vec![2, 3], vec![0.5, -1.5], vec![0, 2, 4], vec![0, 1, 0]).unwrap();
        let expected = [(0, 0, 0.5), (0, 2, -1.5), (1, 1, 0.5)];
        let all = [Values::Dense(sparse.to_dense().unwrap()), Values::Sparse(sparse)];
        for values in &all {
            assert_eq!(entries(&values.weights(&candidate(false, None)).unwrap()), expected);
        }
        let doubled = [(0, 0, 1.0), (0, 2, -3.0), (1, 1, -0.5)];
        for values in &all {
            let scale = Some(vec![2.0, -1.0]);
            assert_eq!(entries(&values.weights(&candidate(false, scale)).unwrap()), doubled);
        }
    }

    #[test]
    fn a_matrix_with_rows_for_inputs_is_transposed() {
        let sparse =
            Sparse::new(vec![3, 2], vec![0.5, -1.5], vec![0, 3, 5], vec![0, 1, 0]).unwrap();
        let expected = [(0, 0, 0.5), (1, 1, -1.5), (1, 2, 0.5)];
        let all = [Values::Dense(sparse.to_dense().unwrap()), Values::Sparse(sparse)];
        for values in &all {
            assert_eq!(entries(&values.weights(&candidate(true, None)).unwrap()), expected);
        }
    }
}
