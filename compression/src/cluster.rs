//! Weight sharing (Han et al., "Deep Compression", ICLR 2016, section 3).
//!
//! The weights of a layer that are not zero become a few values, each the mean of a cluster of
//! weights.

use crate::{CompressError, Layer, Mask, PerLayer, layers};
pub use codebook::Codebook;
pub use init::ClusterInit;
use k_means::Sorted;
use rayon::prelude::*;
use serde::Serialize;
use skysail_graph::Model;

mod codebook;
mod k_means;
mod init;

/// Limit of the bits of a code.
const BITS_MAX: u8 = 16;

/// Settings of weight sharing.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterSettings {
    /// Bits of a code, 1 to 16. A layer of `b` bits has at most `2^b` different values besides
    /// zero.
    pub bits: PerLayer<u8>,
    /// Choice of the first centroids.
    pub init: ClusterInit,
}

impl Default for ClusterSettings {
    /// The paper's settings (section 5.2): 8 bits for convolutions, 5 for fully connected layers,
    /// linear initialization.
    fn default() -> Self {
        let bits = PerLayer { convolution: Some(8), fully_connected: Some(5), ..PerLayer::none() };
        Self { bits, init: ClusterInit::Linear }
    }
}

/// A layer of shared weights.
#[derive(Debug, Clone, PartialEq)]
pub struct SharedLayer {
    /// Name of the layer.
    pub layer: String,
    /// The weights that have a code: those that were not zero.
    pub mask: Mask,
    /// Values, and the codes of those weights.
    pub codebook: Codebook,
    /// Quality of the approximation.
    pub report: ClusteredLayer,
}

/// Result of weight sharing.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClusterReport {
    /// Results, layer by layer.
    pub layers: Vec<ClusteredLayer>,
}

/// Result of weight sharing in one layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClusteredLayer {
    /// Name of the layer.
    pub name: String,
    /// Number of weights that are not zero.
    pub weights: usize,
    /// Bits of a code, as asked for.
    pub bits: u8,
    /// Number of values in use.
    pub centroids: usize,
    /// Mean squared difference between the weights that were not zero and their new values.
    pub mean_squared_error: f64,
    /// Number of iterations until the clusters stayed the same.
    pub iterations: usize,
    /// Mean bits of a code in an ideal entropy code: Shannon's entropy.
    pub entropy_bits: f64,
}

/// Replaces the weights of the model by shared values.
///
/// # Errors
/// `NoSuchLayer` and `BadSetting` for settings that cannot be met, `NotFinite` for weights that are
/// NaN or infinite, `Graph` for a broken model.
pub fn cluster(
    model: &mut Model,
    settings: &ClusterSettings,
) -> Result<ClusterReport, CompressError> {
    let shared = share_values(model, settings)?;
    let layers = layers(model)?;
    let mut tensors = Vec::with_capacity(shared.len());
    for SharedLayer { layer, mask, codebook, .. } in &shared {
        let Some(layer) = layers.iter().find(|known| known.name == *layer) else { continue };
        tensors.push((layer, layer.tensor(&codebook.decode(mask))?));
    }
    for (layer, tensor) in tensors {
        model.set_initializer(&layer.name, tensor);
    }
    Ok(ClusterReport { layers: shared.into_iter().map(|shared| shared.report).collect() })
}

/// Returns the shared values without changing the model, for training that goes on with them.
///
/// # Errors
/// The same as [`cluster`].
pub fn share_values(
    model: &Model,
    settings: &ClusterSettings,
) -> Result<Vec<SharedLayer>, CompressError> {
    let layers = layers(model)?;
    let chosen = settings.bits.resolve(&layers)?;
    if let Some((_, bits)) = chosen.iter().find(|(_, bits)| !(1..=BITS_MAX).contains(*bits)) {
        let (setting, wanted) = ("the number of bits", "1 to 16");
        return Err(CompressError::BadSetting { setting, value: bits.to_string(), wanted });
    }
    let shared = chosen.into_par_iter();
    shared.map(|(layer, bits)| share_layer(model, layer, *bits, settings.init)).collect()
}

fn share_layer(
    model: &Model,
    layer: &Layer,
    bits: u8,
    init: ClusterInit,
) -> Result<SharedLayer, CompressError> {
    let values = layer.values(model)?;
    let mask = Mask::of(&values);
    let sorted = Sorted::of(values.iter().copied().filter(|value| *value != 0.0).collect());
    let found = sorted.cluster(1 << bits, init);
    let mut centroids: Vec<f32> =
        found.centroids.iter().map(|centroid| layer.round(*centroid as f32)).collect();
    centroids.dedup();
    let codebook = Codebook::nearest(&values, centroids).without_unused();
    let report = ClusteredLayer {
        name: layer.name.clone(),
        weights: codebook.codes.len(),
        bits,
        centroids: codebook.centroids.len(),
        mean_squared_error: codebook.mean_squared_error(&values),
        iterations: found.iterations,
        entropy_bits: codebook.entropy_bits(),
    };
    Ok(SharedLayer { layer: layer.name.clone(), mask, codebook, report })
}

#[cfg(test)]
mod tests;
