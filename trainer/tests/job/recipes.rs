//! Recipes in the folder of the trainer.

use crate::support::{Recorder, run};
use skysail_compression::Package;
use skysail_trainer::{Input, NetworkTask, Recipe, TrainTask, Values};
use std::path::{Path, PathBuf};

fn recipes() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/recipes");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|kind| kind == "toml")).collect()
}

#[test]
fn every_recipe_parses_and_builds_its_model() {
    let paths = recipes();
    assert!(paths.len() >= 10, "{paths:?}");
    for path in paths {
        let recipe = Recipe::load(&path, &[]).unwrap_or_else(|error| panic!("{error}"));
        recipe.model.model(&recipe.folder, recipe.seed).unwrap();
    }
}

#[test]
fn the_digits_recipe_reaches_its_accuracy_quickly() {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/recipes/digits.toml"));
    // Fewer data and no shifts, for a short test.
    let few = [
        "data.digits.train=1500",
        "data.digits.test=300",
        "epochs=6",
        "prepare.shift=0",
        "prepare.validation=0.0",
    ];
    let recipe = Recipe::load(path, &few.map(str::to_owned)).unwrap();
    let outcome = run(&recipe.prepare(1).unwrap(), 1, &Recorder::default(), None, None).unwrap();
    let accuracy = outcome.history.last().unwrap().accuracy.unwrap();
    assert!(accuracy > 0.85, "{accuracy}");
}

#[test]
fn the_mnist_recipe_fits_its_data() {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/recipes/goyal-large-batch.toml"));
    let recipe = Recipe::load(path, &[]).unwrap();
    let folder = recipe.folder.join("../../../shared/data/mnist");
    if !folder.exists() {
        println!("skipped: {} is absent", folder.display());
        return;
    }
    let prepared = recipe.prepare(2).unwrap();
    assert_eq!((prepared.train.rows(), prepared.test.rows()), (60_000, 10_000));
    assert_eq!(prepared.settings.steps, 20 * 58);
    assert!((prepared.schedule.rate(5 * 58) - 0.16).abs() < 1e-6);
    assert!((prepared.schedule.rate(12 * 58) - 0.016).abs() < 1e-6);
}

#[test]
fn the_shipped_package_matches_its_recipe_and_classifies_its_example() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../models/drawn"));
    let recipe = Recipe::load(&folder.join("recipe.toml"), &[]).unwrap();
    let package = Package::open(folder.join("1/model.sky")).unwrap();
    let made_again = "rebuild it as its README describes";
    assert_eq!(package.manifest().training, recipe.package_fingerprint(), "{made_again}");
    let accuracy = &package.manifest().accuracy[0];
    assert!(accuracy.after >= accuracy.before.map(|before| before - 0.002), "{accuracy:?}");
    let example = std::fs::read(folder.join("example.json")).unwrap();
    let request: serde_json::Value = serde_json::from_slice(&example).unwrap();
    let pixels = request["inputs"][0]["data"].as_array().unwrap().iter();
    let pixels: Vec<f32> = pixels.map(|pixel| pixel.as_f64().unwrap() as f32).collect();
    let input = Input { shape: vec![1, 784], values: Values::Float32(pixels) };
    let task = NetworkTask::new(package.model().unwrap()).unwrap();
    let logits = task.learner().unwrap().predict(&task.initial_parameters(), &input).unwrap();
    let best = logits.iter().copied().fold(f32::MIN, f32::max);
    assert_eq!(logits.iter().position(|logit| *logit == best), Some(7), "{logits:?}");
}
