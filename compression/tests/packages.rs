//! Tests with real models, if they are present: each is packed and comes back the same.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test panics and prints")]

use skysail_compression::{Package, PackageWriter};
use skysail_graph::{ElementType, Model};
use std::path::{Path, PathBuf};

/// Limit of the package of Song Han's SqueezeNet, in bytes.
const SQUEEZENET_BYTES_MAX: u64 = 580_000;

fn data() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/models"))
}

/// Returns the `model.onnx` of every folder whose size in bytes is in the range.
fn models(bytes: std::ops::Range<u64>) -> Vec<PathBuf> {
    let Ok(folders) = std::fs::read_dir(data()) else {
        println!("skipped: there is no folder {}", data().display());
        return Vec::new();
    };
    let paths = folders.map(|folder| folder.unwrap().path().join("model.onnx"));
    paths.filter(|path| path.metadata().is_ok_and(|file| bytes.contains(&file.len()))).collect()
}

#[test]
fn small_models_are_restored_exactly() {
    for path in models(0..1 << 20) {
        check(&path);
    }
}

#[test]
fn models_are_restored_exactly() {
    for path in models(1 << 20..3 << 20) {
        check(&path);
    }
}

#[test]
fn a_model_that_is_mostly_graph_is_restored_exactly() {
    let path = data().join("sklearn-mnist-random-forest/model.onnx");
    if !path.is_file() {
        println!("skipped: there is no {}", path.display());
        return;
    }
    assert!(check(&path) * 10 < path.metadata().unwrap().len());
}

#[test]
fn squeezenet_is_as_small_as_its_entropy_allows() {
    let path = data().join("squeezenet1.0/model.onnx");
    if !path.is_file() {
        println!("skipped: there is no {}", path.display());
        return;
    }
    let bytes = check(&path);
    assert!(bytes < SQUEEZENET_BYTES_MAX, "{bytes}");
}

/// Packs the model, compares the unpacked one, and returns the package's size in bytes.
fn check(path: &Path) -> u64 {
    let model = Model::load(path).unwrap();
    let package = Package::from_bytes(PackageWriter::new(&model).to_bytes().unwrap()).unwrap();
    let again = package.model().unwrap();
    let (a, b) = (model.graph().initializers(), again.graph().initializers());
    assert_eq!(a.len(), b.len());
    for (a, b) in a.zip(b) {
        assert_eq!((a.name(), a.element()), (b.name(), b.element()));
        assert_eq!(a.shape().unwrap(), b.shape().unwrap());
        if a.element() == ElementType::String {
            assert_eq!(a.strings().unwrap(), b.strings().unwrap());
        } else {
            assert!(a.bytes().unwrap() == b.bytes().unwrap(), "{} {}", path.display(), a.name());
        }
    }
    // Everything else is compared too. Values may be in another field than before, so they are
    // moved first.
    assert!(with_raw_values(&model) == with_raw_values(&again), "{}", path.display());
    package.bytes()
}

/// Returns the model as bytes, with the initializers' values in the field of raw bytes.
fn with_raw_values(model: &Model) -> Vec<u8> {
    let mut raw = model.clone();
    for tensor in model.graph().initializers() {
        if tensor.element() != ElementType::String {
            raw.set_initializer(tensor.name(), tensor.to_tensor().unwrap());
        }
    }
    raw.to_bytes().unwrap()
}

#[test]
fn models_of_raw_values_are_restored_to_the_byte() {
    let exact = models(0..1 << 20).into_iter().filter(|path| {
        let model = Model::load(path).unwrap();
        let package = Package::from_bytes(PackageWriter::new(&model).to_bytes().unwrap()).unwrap();
        package.model_bytes().unwrap() == model.to_bytes().unwrap()
    });
    let (exact, all) = (exact.count(), models(0..1 << 20).len());
    assert!(exact * 2 >= all, "{exact} of {all}");
}

#[test]
fn damaged_packages_of_real_models_never_panic() {
    let mut state = 1_u64;
    let mut random = |limit: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize % limit
    };
    for path in models(0..50 << 10) {
        let model = Model::load(path).unwrap();
        let whole = PackageWriter::new(&model).to_bytes().unwrap();
        for _ in 0..200 {
            let mut spoiled = whole.clone();
            let position = random(spoiled.len());
            match random(4) {
                0 => spoiled.truncate(position),
                _ => spoiled[position] ^= 1 << random(8),
            }
            if let Ok(package) = Package::from_bytes(spoiled) {
                // The digest detects any damage that nothing else does.
                let _ = package.model();
                assert!(package.verify().is_err());
            }
        }
    }
}
