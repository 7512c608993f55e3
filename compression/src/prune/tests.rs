//! Tests of pruning: the weights it keeps, and the settings it rejects.

use super::*;
use proptest::prelude::*;
use skysail_graph::{Dim, ElementType, GraphBuilder, Tensor, mlp};

/// Builds a model of one matrix for each of `weights`.
fn model(weights: &[&[f32]]) -> Model {
    let mut builder = GraphBuilder::new("matrices");
    for (index, values) in weights.iter().enumerate() {
        let (rows, name) = (values.len() as u64, format!("w{index}"));
        builder
            .input(&format!("x{index}"), ElementType::Float32, &[Dim::from(1), Dim::Fixed(rows)])
            .initializer(&name, Tensor::new(&[rows, 1], values).unwrap())
            .node("MatMul", &[&format!("x{index}"), &name], &[&format!("y{index}")], &[])
            .output(&format!("y{index}"), ElementType::Float32, &[Dim::from(1), Dim::from(1)]);
    }
    builder.finish().unwrap()
}

fn weights(model: &Model, layer: usize) -> Vec<f32> {
    layers(model).unwrap()[layer].values(model).unwrap().into_owned()
}

fn per_layer(rule: PruneRule) -> PruneSettings {
    PruneSettings::PerLayer(PerLayer::all(rule))
}

#[test]
fn the_largest_weights_stay_and_the_first_of_equal_ones() {
    let mut model = model(&[&[1.0, -3.0, 2.0, -2.0, 2.0, 0.5]]);
    let report = prune(&mut model, &per_layer(PruneRule::Density(0.5))).unwrap();
    assert_eq!(weights(&model, 0), [0.0, -3.0, 2.0, -2.0, 0.0, 0.0]);
    let expected = PrunedLayer { name: "w0".into(), weights: 6, kept: 3, threshold: Some(2.0) };
    assert_eq!(report.layers, [expected]);
    assert_eq!(report.density(), 0.5);
}

#[test]
fn thresholds_are_absolute_or_in_standard_deviations() {
    let values = [1.0, -1.0, 3.0, -3.0];
    let mut absolute = model(&[&values]);
    prune(&mut absolute, &per_layer(PruneRule::Threshold(3.0))).unwrap();
    assert_eq!(weights(&absolute, 0), [0.0, 0.0, 3.0, -3.0]);
    // The standard deviation is the root of 5, 2.24.
    let kept = |factor| {
        let mut model = model(&[&values]);
        prune(&mut model, &per_layer(PruneRule::Deviations(factor))).unwrap().layers[0].kept
    };
    assert_eq!([kept(0.0), kept(0.44), kept(0.45), kept(1.35)], [4, 4, 2, 0]);
}

#[test]
fn floors_override_the_global_threshold() {
    let (small, large): (&[f32], &[f32]) = (&[0.1, 0.2, 0.3, 0.4], &[1.0, 2.0, 3.0, 4.0]);
    let kept = |density, floor| {
        let mut model = model(&[small, large]);
        let floors = PerLayer::all(floor);
        let report = prune(&mut model, &PruneSettings::Global { density, floors }).unwrap();
        (report.layers[0].kept, report.layers[1].kept)
    };
    assert_eq!(kept(0.5, 0.0), (0, 4));
    assert_eq!(kept(0.5, 0.25), (1, 3));
    assert_eq!(kept(0.75, 0.0), (2, 4));
    assert_eq!(kept(0.25, 0.5), (2, 2));
    assert_eq!(kept(0.0, 0.0), (0, 0));
}

#[test]
fn only_selected_layers_count() {
    let mut model = model(&[&[1.0, 2.0], &[3.0, 4.0]]);
    let floors = PerLayer::none().with("w1", Some(0.0));
    let report = prune(&mut model, &PruneSettings::Global { density: 0.5, floors }).unwrap();
    assert_eq!((report.layers.len(), report.layers[0].kept), (1, 1));
    assert_eq!((weights(&model, 0), weights(&model, 1)), (vec![1.0, 2.0], vec![0.0, 4.0]));
}

#[test]
fn halves_stay_halves() {
    let halves = crate::layers::to_f16(&[0.1, -0.2, 0.3]);
    let mut model = model(&[&[0.0; 3]]);
    model.set_initializer("w0", Tensor::new(&[3, 1], &halves).unwrap());
    prune(&mut model, &per_layer(PruneRule::Density(2.0 / 3.0))).unwrap();
    let tensor = model.graph().initializer("w0").unwrap().to_tensor().unwrap();
    assert_eq!(tensor.element(), ElementType::Float16);
    assert_eq!(
        tensor.bytes(),
        &[&[0, 0][..], &halves[1].to_le_bytes(), &halves[2].to_le_bytes()].concat()
    );
}

#[test]
fn invalid_settings_are_errors_and_change_nothing() {
    let mut model = mlp(&[4, 3, 2], 1).unwrap();
    let before = model.to_bytes().unwrap();
    let mut message = |settings| prune(&mut model, &settings).unwrap_err().to_string();
    assert_eq!(
        message(per_layer(PruneRule::Density(1.5))),
        "the density is 1.5: it must be a share from 0 to 1"
    );
    assert!(message(per_layer(PruneRule::Density(f64::NAN))).contains("is NaN"));
    assert!(message(per_layer(PruneRule::Threshold(-1.0))).contains("must be 0 or more"));
    assert!(message(per_layer(PruneRule::Deviations(f32::INFINITY))).contains("must be 0 or more"));
    let floors = PerLayer::all(2.0);
    assert!(
        message(PruneSettings::Global { density: 0.5, floors }).contains("a layer's floor is 2")
    );
    let unknown = PerLayer::all(PruneRule::Density(0.5)).with("fc7", None);
    assert!(message(PruneSettings::PerLayer(unknown)).contains("no layer 'fc7'"));
    assert_eq!(model.to_bytes().unwrap(), before);
}

/// Generates weights with many ties and zeros among them.
fn any_weights() -> impl Strategy<Value = Vec<f32>> {
    let weight = prop_oneof![Just(0.0_f32), Just(0.5), Just(-0.5), -1.0_f32..1.0];
    prop::collection::vec(weight, 1..200)
}

proptest! {
    #[test]
    fn the_density_is_exact_and_the_largest_weights_stay(
        values in any_weights(), density in 0.0..=1.0_f64,
    ) {
        let mask = masks(&model(&[&values]), &per_layer(PruneRule::Density(density))).unwrap().remove(0);
        let nonzero = Mask::of(&values).kept();
        prop_assert_eq!(mask.mask.kept(), share_of(values.len(), density).min(nonzero));
        let all = || values.iter().zip(mask.mask.as_slice());
        let lost = all().filter(|(_, kept)| !**kept).map(|(value, _)| value.abs());
        prop_assert!(lost.fold(0.0, f32::max) <= mask.threshold.unwrap_or(f32::INFINITY));
    }

    #[test]
    fn the_global_density_is_exact(
        first in any_weights(), second in any_weights(), density in 0.0..=1.0_f64, floor in 0.0..=1.0_f64,
    ) {
        let model = model(&[&first, &second]);
        let floors = PerLayer::all(floor);
        let found = masks(&model, &PruneSettings::Global { density, floors }).unwrap();
        let nonzero = [&first, &second].map(|values| Mask::of(values).kept());
        let floor = |index: usize| share_of(found[index].mask.len(), floor).min(nonzero[index]);
        let wanted = share_of(first.len() + second.len(), density);
        let kept: usize = found.iter().map(|layer| layer.mask.kept()).sum();
        prop_assert_eq!(kept, wanted.max(floor(0) + floor(1)).min(nonzero[0] + nonzero[1]));
        prop_assert!((0..2).all(|index| found[index].mask.kept() >= floor(index)));
    }
}
