//! Tests of scanning folders of models.

use super::*;
use crate::repository::roots::Roots;
use crate::repository::roots::Scan;
use std::fs;

/// Scans a repository.
fn scan(folder: &Path) -> Scan {
    Roots::from(folder.to_owned()).scan()
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn finds_versions_and_ignores_everything_else() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    write(&at("a/1/model.onnx"), "x");
    write(&at("a/12/model.onnx"), "x");
    write(&at("a/0/model.onnx"), "x");
    write(&at("a/new/model.onnx"), "x");
    write(&at("a/3/readme.txt"), "x");
    for name in ["01", "+2", "-1", "1.0", "99999999999999999999"] {
        write(&at(&format!("a/{name}/model.onnx")), "x");
    }
    write(&at(".hidden/1/model.onnx"), "x");
    write(&at("file"), "x");
    let models = scan(folder.path()).models;
    assert_eq!(models.keys().collect::<Vec<_>>(), ["a"]);
    assert_eq!(models["a"].versions.keys().collect::<Vec<_>>(), [&1, &12]);
}

#[test]
fn a_version_has_a_model_or_a_package_and_not_both() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["1/model.onnx", "2/model.sky", "3/model.onnx", "3/model.sky"] {
        write(&folder.path().join("a").join(file), "x");
    }
    let scanned = || scan(folder.path()).models.remove("a").unwrap().versions;
    let versions = scanned();
    assert!(versions[&1].file.as_ref().unwrap().ends_with("a/1/model.onnx"));
    assert!(versions[&2].file.as_ref().unwrap().ends_with("a/2/model.sky"));
    let error = versions[&3].file.as_ref().unwrap_err();
    assert!(error.contains("it has model.onnx and model.sky"), "{error}");
    write(&folder.path().join("a/model.toml"), "file = 'model.sky'");
    let versions = scanned();
    assert_eq!(versions.keys().collect::<Vec<_>>(), [&2, &3]);
    assert!(versions[&3].file.as_ref().unwrap().ends_with("a/3/model.sky"));
    write(&folder.path().join("a/2/model.sky"), "other");
    assert_ne!(scanned()[&2], versions[&2]);
    assert_eq!(scanned()[&3], versions[&3]);
}

#[test]
fn a_changed_file_has_another_fingerprint() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a/1/model.onnx");
    write(&file, "x");
    let before = scan(folder.path()).models;
    assert_eq!(before, scan(folder.path()).models);
    write(&file, "xy");
    assert_ne!(before, scan(folder.path()).models);
}

#[test]
fn an_error_in_model_toml_has_its_path() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("a/model.toml"), "max_batch = 3");
    let models = scan(folder.path()).models;
    let error = models["a"].config.as_ref().unwrap_err();
    assert!(error.contains("a/model.toml") && error.contains("max_batch"), "{error}");
}

#[test]
fn model_toml_takes_precedence_over_config_pbtxt() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("a/config.pbtxt"), "max_batch_size: 4");
    let models = scan(folder.path()).models;
    assert_eq!(models["a"].config.as_ref().unwrap().max_batch_size, Some(4));
    assert_eq!(models["a"].warnings.len(), 0);
    write(&folder.path().join("a/model.toml"), "max_batch_size = 7\nfile = 'm.onnx'");
    write(&folder.path().join("a/1/m.onnx"), "x");
    write(&folder.path().join("a/2/model.onnx"), "x");
    let models = scan(folder.path()).models;
    assert_eq!(models["a"].config.as_ref().unwrap().max_batch_size, Some(7));
    assert!(models["a"].warnings[0].contains("config.pbtxt is not read"));
    assert_eq!(models["a"].versions.keys().collect::<Vec<_>>(), [&1]);
}

#[test]
fn given_settings_replace_those_in_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("model.toml"), "max_batch_size = 7");
    let source = scan_folder(folder.path(), "a", Some(r#"{"max_batch_size": 3}"#));
    assert_eq!(source.config.unwrap().max_batch_size, Some(3));
    let source = scan_folder(folder.path(), "a", Some("{"));
    assert!(source.config.unwrap_err().contains("not valid"));
}

#[test]
fn file_names_do_not_leave_their_folder() {
    for name in ["m.onnx", ".m", "a b", "..."] {
        assert!(is_plain(name), "{name}");
    }
    for name in ["", ".", "..", "../m.onnx", "/m.onnx", "a/m.onnx", "m.onnx/"] {
        assert!(!is_plain(name), "{name}");
    }
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("a/model.toml"), "file = '../1/model.onnx'");
    let models = scan(folder.path()).models;
    let error = models["a"].config.as_ref().unwrap_err();
    assert!(error.contains("'../1/model.onnx'"), "{error}");
}

#[test]
fn a_settings_file_has_a_size_limit() {
    let folder = tempfile::tempdir().unwrap();
    let text = "#".repeat(settings::CONFIG_BYTES_MAX as usize + 1);
    write(&folder.path().join("a/model.toml"), &text);
    let models = scan(folder.path()).models;
    let error = models["a"].config.as_ref().unwrap_err();
    assert!(error.contains("larger than 1048576 bytes"), "{error}");
}
