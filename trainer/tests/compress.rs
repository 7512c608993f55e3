//! Deep Compression of a trained model, through the public interface.

#![allow(clippy::unwrap_used, reason = "a test panics")]

use skysail_compression::{Package, PackageWriter};
use skysail_graph::Model;
use skysail_trainer::{
    CompressObserver, CompressedModel, CompressionError, CompressionStep, PackageInfo, Phase,
    PreparedRecipe, Recipe, RunContext, StepEvent, TrainObserver, describe,
};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

const RECIPE: &str = r#"
epochs = 4
batch = 20
model.mlp = [784, 12, 10]
[data.digits]
train = 400
test = 100
[optimizer]
momentum = 0.9
[schedule]
rate = 0.05
[compress]
rounds = 2
density = { layers = { "fc0.weight" = 0.1, "fc1.weight" = 0.5 } }
retrain = { epochs = 1, rate = 0.05 }
settle = { epochs = 2, rate = 0.05, cosine = 0.0 }
bits = { fully-connected = 3 }
fine-tune = { epochs = 1, rate = 0.02 }
loss-max = 0.2
attempts = 1
"#;

/// Ignores all events.
struct NoObserver;

impl CompressObserver for NoObserver {
    fn phase_started(&self, _: Phase, _: u64) {}
    fn step(&self, _: &StepEvent) {}
    fn step_done(&self, _: &CompressionStep) {}
}

/// Counts announced steps, steps taken, and finished parts.
#[derive(Default)]
struct Counter(Mutex<(u64, u64, Vec<String>)>);

impl CompressObserver for Counter {
    fn phase_started(&self, _: Phase, steps: u64) {
        self.0.lock().unwrap().0 += steps;
    }
    fn step(&self, _: &StepEvent) {
        self.0.lock().unwrap().1 += 1;
    }
    fn step_done(&self, done: &CompressionStep) {
        self.0.lock().unwrap().2.push(done.what.clone());
    }
}

impl TrainObserver for NoObserver {
    fn step(&self, _: &StepEvent) -> Result<(), skysail_trainer::TrainError> {
        Ok(())
    }

    fn measured(
        &self,
        _: &skysail_trainer::Measurement,
    ) -> Result<(), skysail_trainer::TrainError> {
        Ok(())
    }
}

fn trained(settings: &[&str]) -> (PreparedRecipe, Model) {
    let settings: Vec<String> = settings.iter().map(|text| (*text).to_owned()).collect();
    let prepared = Recipe::parse(RECIPE, &settings).unwrap().prepare(1).unwrap();
    let stop = AtomicBool::new(false);
    let context = RunContext { observer: &NoObserver, store: None, resume: None, stop: &stop };
    let outcome = prepared.run(1, &context).unwrap();
    let model = prepared.task.trained(&outcome.parameters).unwrap();
    (prepared, model)
}

fn compressed(
    prepared: &PreparedRecipe,
    model: &Model,
    ranks: usize,
) -> Result<CompressedModel, CompressionError> {
    prepared.compress(model, ranks, &AtomicBool::new(false), &NoObserver)
}

/// Number of non-zero weights, and of different values among them.
fn kept(model: &Model, name: &str) -> (usize, usize) {
    let tensor = model.graph().initializer(name).unwrap();
    let mut values: Vec<f32> = tensor.as_f32().unwrap().to_vec();
    values.retain(|value| *value != 0.0);
    let kept = values.len();
    values.sort_by(f32::total_cmp);
    values.dedup();
    (kept, values.len())
}

#[test]
fn a_compressed_model_has_few_weights_in_few_values_and_keeps_its_accuracy() {
    let (prepared, model) = trained(&[]);
    let compressed = compressed(&prepared, &model, 1).unwrap();
    let [before, after] = compressed.accuracy;
    assert!(before > 0.4 && after >= before - 0.2, "{before} {after}");
    for (name, weights, density) in [("fc0.weight", 784 * 12, 0.1), ("fc1.weight", 120, 0.5)] {
        let (kept, values) = kept(&compressed.model, name);
        // One or two weights may become zero during training.
        let wanted = (f64::from(weights) * density).round() as usize;
        assert!(kept <= wanted && kept + 3 > wanted, "{name}: {kept} of {wanted}");
        // Three bits, and one more after a second attempt.
        assert!(values <= 16, "{name}: {values}");
    }
    let (_, biases) = kept(&compressed.model, "fc0.bias");
    assert!(biases > 8, "biases are not shared: {biases}");
}

#[test]
fn the_package_is_small_and_records_the_steps() {
    let (prepared, model) = trained(&[]);
    let compressed = compressed(&prepared, &model, 1).unwrap();
    let sample = prepared.test.batch(&[0, 1, 2]).input;
    let info = PackageInfo { name: "small".into(), training: "t".into(), ..PackageInfo::default() };
    let manifest = describe(&compressed, info, &sample).unwrap();
    let bytes = PackageWriter::new(&compressed.model).manifest(manifest).to_bytes().unwrap();
    let dense = 4 * (784 * 12 + 12 + 120 + 10);
    assert!(bytes.len() * 10 < dense, "{} of {dense}", bytes.len());
    let package = Package::from_bytes(bytes).unwrap();
    let manifest = package.manifest();
    assert_eq!(manifest.accuracy[0].measure, "top1");
    assert_eq!(manifest.tensors["fc0.weight"][1].what, "cluster");
    assert_eq!(manifest.inputs["input"].count, 3 * 784);
    assert_eq!(manifest.outputs["output"].count, 30);
    let again = package.model().unwrap();
    assert_eq!(kept(&again, "fc0.weight"), kept(&compressed.model, "fc0.weight"));
}

#[test]
fn two_ranks_compress_as_well_as_one() {
    let (prepared, model) = trained(&[]);
    let one = compressed(&prepared, &model, 1).unwrap();
    let two = compressed(&prepared, &model, 2).unwrap();
    assert_eq!(one.density, two.density);
    assert!((one.accuracy[1] - two.accuracy[1]).abs() < 0.15);
}

#[test]
fn an_observer_receives_all_steps_and_finished_parts() {
    let (prepared, model) = trained(&["compress.loss-max=1.0"]);
    let count = Counter::default();
    prepared.compress(&model, 1, &AtomicBool::new(false), &count).unwrap();
    let (announced, taken, done) = count.0.into_inner().unwrap();
    // 20 steps an epoch: one round, the last round, and fine-tuning.
    assert_eq!((announced, taken), (20 + 40 + 20, 20 + 40 + 20));
    assert_eq!(done.len(), 4, "{done:?}");
    assert!(done[3].contains("2 layers share"), "{done:?}");
}

#[test]
fn with_a_teacher_and_validation_data_the_same_seed_gives_the_same_model() {
    let settings = [
        "prepare.validation=0.25",
        "compress.distill={ temperature = 3.0, share = 0.5 }",
        "compress.loss-max=0.3",
    ];
    let (prepared, model) = trained(&settings);
    let [one, two] = [1, 1].map(|ranks| compressed(&prepared, &model, ranks).unwrap());
    assert_eq!(one.accuracy, two.accuracy);
    assert_eq!(one.steps, two.steps);
    assert!(one.model.to_bytes().unwrap() == two.model.to_bytes().unwrap());
    // Without distillation, other weights remain.
    let (undistilled, _) = trained(&[settings[0], settings[2]]);
    let undistilled = compressed(&undistilled, &model, 1).unwrap();
    assert_ne!(undistilled.steps, one.steps);
}

#[test]
fn too_great_a_loss_is_an_error() {
    let settings = ["compress.density.layers={\"fc0.weight\"=0.0005}", "compress.loss-max=0.0"];
    let (prepared, model) = trained(&settings);
    let error = compressed(&prepared, &model, 1).unwrap_err();
    assert!(matches!(error, CompressionError::AccuracyLost { .. }), "{error}");
    assert!(error.to_string().contains("allow a larger loss"), "{error}");
}

#[test]
fn impossible_settings_are_rejected_before_training() {
    let (prepared, model) = trained(&["compress.density.layers={\"fc9.weight\"=0.5}"]);
    let error = compressed(&prepared, &model, 1).unwrap_err().to_string();
    assert!(error.contains("fc9.weight"), "{error}");
    let stopped = prepared.compress(&model, 1, &AtomicBool::new(true), &NoObserver);
    assert!(stopped.is_err());
}
