//! Tests of weight sharing.

use super::*;
use half::f16;
use proptest::prelude::*;
use skysail_graph::{Tensor, mlp};

fn model(values: &[f32]) -> Model {
    let inputs = values.len() as u64;
    let mut model = mlp(&[inputs, 1], 1).unwrap();
    model.set_initializer("fc0.weight", Tensor::new(&[1, inputs], values).unwrap());
    model
}

fn bits(bits: u8) -> ClusterSettings {
    ClusterSettings { bits: PerLayer::all(bits), init: ClusterInit::Linear }
}

fn weights(model: &Model) -> Vec<f32> {
    layers(model).unwrap()[0].values(model).unwrap().into_owned()
}

#[test]
fn weights_become_the_means_of_their_clusters_and_zeros_stay() {
    let mut model = model(&[0.9, 0.0, 1.1, -2.0, -0.0, -4.0]);
    let report = cluster(&mut model, &bits(1)).unwrap();
    assert_eq!(weights(&model), [1.0, 0.0, 1.0, -3.0, 0.0, -3.0]);
    let layer = &report.layers[0];
    assert_eq!((layer.weights, layer.centroids, layer.entropy_bits), (4, 2, 1.0));
    assert!((layer.mean_squared_error - (0.01 + 0.01 + 1.0 + 1.0) / 4.0).abs() < 1e-6);
}

#[test]
fn clustered_weights_are_unchanged() {
    let values = [0.125, -3.0, 0.0, 0.125, 7.0, -3.0, 1e-30, 0.0];
    let mut clustered = model(&values);
    let report = cluster(&mut clustered, &bits(2)).unwrap();
    assert_eq!(weights(&clustered), values);
    assert_eq!((report.layers[0].mean_squared_error, report.layers[0].iterations), (0.0, 0));
}

#[test]
fn a_layer_of_zeros_stays_one() {
    let mut model = model(&[0.0, -0.0]);
    let report = cluster(&mut model, &bits(8)).unwrap();
    assert_eq!((report.layers[0].centroids, report.layers[0].entropy_bits), (0, 0.0));
    assert_eq!(weights(&model), [0.0, 0.0]);
}

#[test]
fn halves_get_centroids_that_are_halves() {
    let values: Vec<f16> = (1..=100).map(|v| f16::from_f32(1.0 / v as f32)).collect();
    let mut model = model(&[0.0; 100]);
    model.set_initializer("fc0.weight", Tensor::new(&[1, 100], &values).unwrap());
    let shared = share_values(&model, &bits(3)).unwrap().remove(0);
    let centroids = &shared.codebook.centroids;
    assert!(centroids.len() <= 8 && centroids.iter().all(|c| f16::from_f32(*c).to_f32() == *c));
    cluster(&mut model, &bits(3)).unwrap();
    assert_eq!(weights(&model), shared.codebook.decode(&shared.mask));
}

#[test]
fn the_default_settings_are_the_papers() {
    let model = mlp(&[40, 30, 20], 1).unwrap();
    let shared = share_values(&model, &ClusterSettings::default()).unwrap();
    assert!(shared.iter().all(|layer| layer.report.bits == 5 && layer.report.centroids <= 32));
    let message = share_values(&model, &bits(17)).unwrap_err().to_string();
    assert_eq!(message, "the number of bits is 17: it must be 1 to 16");
}

proptest! {
    #[test]
    fn each_weight_has_the_nearest_value_and_codes_decode(
        values in prop::collection::vec(prop_oneof![Just(0.0_f32), -1.0_f32..1.0], 1..300),
        count in 1_u8..=16,
    ) {
        let mut clustered = model(&values);
        let shared = share_values(&clustered, &bits(count)).unwrap().remove(0);
        cluster(&mut clustered, &bits(count)).unwrap();
        let after = weights(&clustered);
        prop_assert_eq!(&after, &shared.codebook.decode(&shared.mask));
        prop_assert!(shared.codebook.counts().iter().all(|count| *count > 0));
        for (before, after) in values.iter().zip(&after) {
            prop_assert!(*before != 0.0 || *after == 0.0);
            let nearest = shared.codebook.centroids.iter().map(|c| (c - before).abs());
            prop_assert!(*before == 0.0 || (after - before).abs() <= nearest.fold(f32::MAX, f32::min) + 1e-6);
        }
    }

    #[test]
    fn the_error_is_at_most_the_variance(
        values in prop::collection::vec(-1.0_f32..1.0, 2..300), count in 1_u8..=6,
    ) {
        let report = share_values(&model(&values), &bits(count)).unwrap().remove(0).report;
        let mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / values.len() as f64;
        let squares = values.iter().map(|value| (f64::from(*value) - mean).powi(2));
        let variance = squares.sum::<f64>() / values.len() as f64;
        prop_assert!(report.mean_squared_error <= variance + 1e-9);
        prop_assert!(report.entropy_bits <= f64::from(count) + 1e-9);
    }
}
