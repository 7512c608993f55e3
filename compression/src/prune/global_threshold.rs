//! A single threshold over several layers, with a least share that each keeps.

use super::select::{Cutoff, keep_largest, magnitude_bits};
use super::{LayerMask, share_of};
use crate::{CompressError, Layer, Mask};
use skysail_graph::Model;

/// Keeps `density` of the weights of all layers together.
///
/// Weights that a layer's floor protects count towards it, so the threshold is found for the others
/// alone. Floors that add up to more than `density` override it. Of equal weights, those of the
/// first layers are kept.
pub(super) fn keep_global(
    model: &Model,
    density: f64,
    layers: &[(&Layer, &f64)],
) -> Result<Vec<LayerMask>, CompressError> {
    let mut parts = Vec::with_capacity(layers.len());
    for (layer, floor) in layers {
        let values = layer.values(model)?;
        let protected = keep_largest(&values, share_of(values.len(), **floor));
        parts.push((*layer, values, protected));
    }
    let total: usize = parts.iter().map(|(_, values, _)| values.len()).sum();
    let protected: usize = parts.iter().map(|(_, _, mask)| mask.kept()).sum();
    let free = parts.iter().flat_map(|(_, values, mask)| unprotected(values, mask));
    let budget = share_of(total, density).saturating_sub(protected);
    let mut cut = Cutoff::at(free.collect(), budget);

    let masks = parts.into_iter().map(|(layer, values, protected)| {
        let mut keeps = |(value, protected): (&f32, &bool)| {
            *protected || cut.as_mut().is_some_and(|cut| cut.keeps(magnitude_bits(*value)))
        };
        let kept = values.iter().zip(protected.as_slice()).map(&mut keeps).collect();
        LayerMask::new(layer, &values, Mask::new(kept))
    });
    Ok(masks.collect())
}

/// Returns the magnitudes of the weights that no floor protects.
fn unprotected<'a>(values: &'a [f32], protected: &'a Mask) -> impl Iterator<Item = u32> + 'a {
    let free = values.iter().zip(protected.as_slice()).filter(|(_, protected)| !**protected);
    free.map(|(value, _)| magnitude_bits(*value))
}
