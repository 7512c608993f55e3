//! Decodes the tensors of a package, all at once on all cores: the weights of layers that may run
//! sparse into kernels, and the others as they are.

use super::PrepareError;
use super::kernel::{Kernel, Values};
use super::layer::{Candidate, Operation};
use super::sizes::Size;
use rayon::prelude::*;
use skysail_compression::{Package, PackageError};
use skysail_graph::Tensor;
use skysail_kernels::KernelError;
use std::collections::HashMap;

/// The tensors of a package in memory.
pub(super) struct Decoded {
    pub(super) dense: Vec<(String, Tensor)>,
    /// By name.
    pub(super) layers: HashMap<String, Weights>,
}

/// A layer's weights in memory.
pub(super) struct Weights {
    pub(super) values: Values,
    /// An error when they can not be sparse, such as infinities.
    pub(super) kernel: Result<Kernel, KernelError>,
}

enum Part {
    Dense(String, Tensor),
    Layer(String, Weights),
}

/// Decodes everything, `layers` for kernels.
pub(super) fn decode(
    package: &Package,
    layers: &HashMap<&str, &Candidate>,
    sizes: &[Size],
) -> Result<Decoded, PrepareError> {
    let mut names: Vec<(u64, &str)> = package
        .tensors()
        .iter()
        .filter(|entry| entry.codec.is_some())
        .map(|entry| (entry.dense_bytes, entry.name.as_str()))
        .collect();
    // The largest first, so that none of them is begun last.
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
    sizes: &[Size],
) -> Result<Weights, PackageError> {
    let values = Values::read(package, name)?;
    let kernel = values.kernel(layer, &rows(layer, sizes));
    Ok(Weights { values, kernel })
}

/// How many rows a product has at the sizes in use; those of the batch where that is not known.
fn rows(layer: &Candidate, sizes: &[Size]) -> Vec<usize> {
    let rows = |size: &Size| match (layer.operation, size.shape(&layer.input)) {
        (Operation::Product(_), Some(shape)) => {
            let (_, rows) = shape.split_last()?;
            rows.iter().try_fold(1_usize, |product, size| product.checked_mul(*size))
        }
        _ => Some(size.batch),
    };
    sizes.iter().filter_map(rows).collect()
}
