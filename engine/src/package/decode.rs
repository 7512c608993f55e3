//! Decodes the tensors of a package in parallel. Weights of layers that may run sparse become
//! kernels; the others stay tensors.

use super::PrepareError;
use super::batch_sizes::BatchShapes;
use super::kernel::{Kernel, Values};
use super::layer::Candidate;
use super::operation::Operation;
use rayon::prelude::*;
use skysail_compression::{Package, PackageError};
use skysail_graph::Tensor;
use skysail_kernels::KernelError;
use std::collections::HashMap;

/// Decoded tensors of a package.
pub(super) struct Decoded {
    pub(super) dense: Vec<(String, Tensor)>,
    /// Weights of layers that may run sparse, by name.
    pub(super) layers: HashMap<String, Weights>,
}

/// Decoded weights of a layer.
pub(super) struct Weights {
    pub(super) values: Values,
    /// Sparse kernel, or the reason why there is none, such as infinite weights.
    pub(super) kernel: Result<Kernel, KernelError>,
}

enum Part {
    Dense(String, Tensor),
    Layer(String, Weights),
}

/// Decodes all tensors; those of `layers` become kernels.
pub(super) fn decode(
    package: &Package,
    layers: &HashMap<&str, &Candidate>,
    sizes: &[BatchShapes],
) -> Result<Decoded, PrepareError> {
    let mut names: Vec<(u64, &str)> = package
        .tensors()
        .iter()
        .filter(|entry| entry.codec.is_some())
        .map(|entry| (entry.dense_bytes, entry.name.as_str()))
        .collect();
    // Large tensors come first, so that no core starts one last.
    names.sort_unstable_by(|one, other| other.cmp(one));
    names.dedup();
    let part = |(_, name): &(u64, &str)| -> Result<Part, PackageError> {
        Ok(match layers.get(name) {
            Some(layer) => Part::Layer((*name).to_owned(), weights(package, name, layer, sizes)?),
            None => Part::Dense((*name).to_owned(), package.tensor(name)?),
        })
    };
    let parts = names.par_iter().with_max_len(1).map(part).collect::<Result<Vec<_>, _>>()?;
    let mut decoded = Decoded { dense: Vec::new(), layers: HashMap::new() };
    for part in parts {
        match part {
            Part::Dense(name, tensor) => decoded.dense.push((name, tensor)),
            Part::Layer(name, weights) => drop(decoded.layers.insert(name, weights)),
        }
    }
    Ok(decoded)
}

fn weights(
    package: &Package,
    name: &str,
    layer: &Candidate,
    sizes: &[BatchShapes],
) -> Result<Weights, PackageError> {
    let values = Values::read(package, name)?;
    let kernel = values.kernel(layer, &rows(layer, sizes));
    Ok(Weights { values, kernel })
}

/// Rows of a product at each batch size; the batch size itself if they are not known.
fn rows(layer: &Candidate, sizes: &[BatchShapes]) -> Vec<usize> {
    let rows = |size: &BatchShapes| match (layer.operation, size.shape(&layer.input)) {
        (Operation::Product(_), Some(shape)) => {
            let (_, rows) = shape.split_last()?;
            rows.iter().try_fold(1_usize, |product, size| product.checked_mul(*size))
        }
        _ => Some(size.batch),
    };
    sizes.iter().filter_map(rows).collect()
}
