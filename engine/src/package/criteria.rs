//! Criteria for running a layer sparse, from measurements and configuration alone.
//!
//! A layer runs sparse if it is not slower than dense at any batch size in use, and faster by a
//! minimum on average.

use crate::config::{Choice, CompressedConfig};
use crate::layers::LayerTimes;
use skysail_compression::nearest;

/// Minimum speed-up of a sparse layer, as the geometric mean over the batch sizes.
const GAIN_MIN: f64 = 1.05;

/// Similar names that an error lists.
const NEAR_MAX: usize = 3;

/// Minimum speed-up of a variant over one with fewer sparse layers.
const VARIANT_GAIN_MIN: f64 = 1.02;

/// Least cosine between outputs in integers and in floats. Rounding to bytes costs a hundredth at
/// most in models that are worth packing, and saturated sums cost much more.
const EXACT_COSINE_MIN: f64 = 0.95;

/// True if a layer is faster sparse. Without a measurement it is not.
pub(super) fn is_faster_sparse(times: &[LayerTimes]) -> bool {
    let never_slower = times.iter().all(|times| times.sparse_us <= times.dense_us);
    never_slower && gain(times) >= GAIN_MIN
}

/// Speed-up of a sparse layer, as the geometric mean over its measurements; 0 if there are none.
pub(super) fn gain(times: &[LayerTimes]) -> f64 {
    mean(times.iter().map(|times| times.dense_us / times.sparse_us))
}

/// True if a variant is faster than another with fewer sparse layers, by their run times at the
/// same batch sizes.
pub(crate) fn is_faster(one: &[(usize, f64)], other: &[(usize, f64)]) -> bool {
    let ratios = one.iter().zip(other).map(|((_, one_us), (_, other_us))| other_us / one_us);
    ratios.clone().all(|ratio| ratio >= 1.0) && mean(ratios) >= VARIANT_GAIN_MIN
}

/// True if outputs of integer arithmetic are as near to those of the same weights as floats as
/// rounding leaves them. Sums that saturate are not.
pub(crate) fn is_exact(integers: &[f64], floats: &[f64]) -> bool {
    let sum = |one: &[f64], other: &[f64]| {
        one.iter().zip(other).map(|(one, other)| one * other).sum::<f64>()
    };
    let (product, of_integers, of_floats) =
        (sum(integers, floats), sum(integers, integers), sum(floats, floats));
    let is_near = match (of_integers == 0.0, of_floats == 0.0) {
        (false, false) => product >= EXACT_COSINE_MIN * (of_integers * of_floats).sqrt(),
        (one, other) => one && other,
    };
    // Comparisons with not-a-number are false.
    is_near && integers.len() == floats.len()
}

/// The geometric mean; 0 if there are no values.
fn mean(ratios: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = ratios.fold((0.0, 0), |(sum, count), ratio| (sum + ratio.ln(), count + 1));
    if count == 0 { 0.0 } else { (sum / f64::from(count)).exp() }
}

/// The configured choice for a layer.
pub(super) fn choice(config: &CompressedConfig, layer: &str) -> Choice {
    config.layers.get(layer).copied().unwrap_or(config.execution)
}

/// Checks that each configured layer exists.
///
/// # Errors
/// Names the first that does not, and layers with similar names.
pub(super) fn check_names<'a>(
    config: &CompressedConfig,
    layers: impl Iterator<Item = &'a str> + Clone,
) -> Result<(), String> {
    for configured in config.layers.keys() {
        if layers.clone().any(|name| name == configured) {
            continue;
        }
        let near = nearest(configured, layers, NEAR_MAX);
        let near = near.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
        let near = if near.is_empty() { "it has none".into() } else { format!("near it: {near}") };
        return Err(format!(
            "compressed.layers names '{configured}', and no layer of the package has weights of that \
             name; {near}"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(pairs: &[(f64, f64)]) -> Vec<LayerTimes> {
        let times = |(batch, (sparse_us, dense_us)): (usize, &(f64, f64))| LayerTimes {
            batch,
            sparse_us: *sparse_us,
            dense_us: *dense_us,
            dense_is_bound: false,
        };
        pairs.iter().enumerate().map(times).collect()
    }

    #[test]
    fn a_sparse_layer_must_never_be_slower_and_be_faster_on_average() {
        for (pairs, sparse) in [
            (&[][..], false),
            (&[(1.0, 6.0), (10.0, 15.0)], true),
            (&[(1.0, 6.0), (10.0, 9.9)], false),
            (&[(1.0, 1.0), (10.0, 10.4)], false),
            (&[(1.0, 1.0), (10.0, 11.5)], true),
        ] {
            assert_eq!(is_faster_sparse(&times(pairs)), sparse, "{pairs:?}");
        }
    }

    #[test]
    fn a_variant_must_never_be_slower_and_be_a_little_faster() {
        let is_faster = |ratios: &[f64]| {
            let one: Vec<_> = ratios.iter().map(|_| (1, 100.0)).collect();
            let other: Vec<_> = ratios.iter().map(|ratio| (1, 100.0 * ratio)).collect();
            is_faster(&one, &other)
        };
        assert!(is_faster(&[1.0, 1.1]) && is_faster(&[1.03]));
        assert!(!is_faster(&[1.0, 1.01]) && !is_faster(&[0.99, 2.0]) && !is_faster(&[]));
    }

    #[test]
    fn outputs_in_integers_must_point_where_those_in_floats_do() {
        let floats = [1.0, -2.0, 0.5];
        assert!(is_exact(&floats, &floats) && is_exact(&[1.01, -1.9, 0.55], &floats));
        assert!(is_exact(&[0.0; 3], &[0.0; 3]) && is_exact(&[], &[]));
        for wrong in [[1.0, 2.0, 0.5], [0.0, 0.0, 0.0], [1.0, -0.3, 0.5], [f64::NAN, -2.0, 0.5]] {
            assert!(!is_exact(&wrong, &floats), "{wrong:?}");
        }
        assert!(!is_exact(&floats[..2], &floats));
        assert!(!is_exact(&floats, &[0.0; 3]), "no direction");
    }

    #[test]
    fn a_setting_for_a_layer_overrides_that_for_all() {
        let layers = [("a".to_owned(), Choice::Auto)].into();
        let config =
            CompressedConfig { execution: Choice::Dense, layers, ..CompressedConfig::default() };
        assert_eq!((choice(&config, "a"), choice(&config, "b")), (Choice::Auto, Choice::Dense));
    }

    #[test]
    fn a_wrong_name_is_reported_with_similar_ones() {
        let layers = [("fc1.wieght".to_owned(), Choice::Dense)].into();
        let config = CompressedConfig { layers, ..CompressedConfig::default() };
        let error = check_names(&config, ["conv.weight", "fc1.weight"].into_iter()).unwrap_err();
        assert!(error.contains("'fc1.wieght'"), "{error}");
        assert!(error.ends_with("near it: 'fc1.weight', 'conv.weight'"), "{error}");
        let error = check_names(&config, std::iter::empty()).unwrap_err();
        assert!(error.ends_with("it has none"), "{error}");
        assert!(check_names(&config, ["fc1.wieght"].into_iter()).is_ok());
    }
}
