//! Tests of several roots together.

use super::*;
use crate::repository::SentFiles;
use std::fs;
use std::os::unix::fs::symlink;
use tempfile::TempDir;

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A folder with two repositories.
fn two() -> (TempDir, Roots) {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("a/one/1/model.onnx"), "x");
    write(&folder.path().join("b/two/1/model.onnx"), "x");
    let roots = ["a", "b"].map(|name| Root::repository(folder.path().join(name)));
    (folder, roots.into_iter().collect())
}

fn reason(source: &ModelSource) -> &str {
    source.config.as_ref().unwrap_err()
}

#[test]
fn a_name_in_two_roots_is_an_error_that_names_both() {
    let (folder, roots) = two();
    assert_eq!(roots.scan().models.keys().collect::<Vec<_>>(), ["one", "two"]);
    write(&folder.path().join("b/one/1/model.onnx"), "x");
    let scan = roots.scan();
    let said = reason(&scan.models["one"]);
    assert!(said.contains("a/one") && said.contains("b/one"), "{said}");
    assert!(scan.models["one"].versions.is_empty());
    assert!(scan.models["two"].config.is_ok());
    assert_eq!(roots.names()["one"].as_deref(), Some(said));
    let named = Root::model("two", folder.path().join("a/one"));
    let roots: Roots = roots.0.iter().cloned().chain([named]).collect();
    let said = reason(&roots.scan().models["two"]).to_owned();
    assert!(said.contains("b/two") && said.contains("two="), "{said}");
}

#[test]
fn models_of_a_root_that_can_not_be_read_are_not_lost() {
    let (folder, roots) = two();
    let at = |name: &str| folder.path().join(name);
    fs::rename(at("a"), at("away")).unwrap();
    let scan = roots.scan();
    assert!(scan.unread[0].reason.contains("/a can not be read"), "{:?}", scan.unread);
    assert!(!scan.has_lost("one", Some(&at("a/one"))));
    assert!(scan.has_lost("three", Some(&at("b/three"))));
    assert!(matches!(roots.scan_model("one", &LoadWith::default()), Err(NoSource::Unread(_))));
}

#[test]
fn a_path_is_a_file_a_folder_with_a_file_or_a_folder_of_versions() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write(&at("m.onnx"), "x");
    write(&at("direct/model.onnx"), "x");
    write(&at("direct/model.onnx.data"), "w");
    write(&at("only/resnet50.onnx"), "x");
    write(&at("versions/3/model.onnx"), "x");
    write(&at("versions/config.pbtxt"), "max_batch_size: 4");
    write(&at("inner/model.onnx/model.onnx"), "x");
    for (path, version, file) in [
        ("m.onnx", 1, "m.onnx"),
        ("direct", 1, "direct/model.onnx"),
        ("only", 1, "only/resnet50.onnx"),
        ("versions", 3, "versions/3/model.onnx"),
        ("inner", 1, "inner/model.onnx/model.onnx"),
    ] {
        let roots: Roots = [Root::model("m", at(path))].into_iter().collect();
        let source = &roots.scan().models["m"];
        assert_eq!(source.versions.keys().collect::<Vec<_>>(), [&version], "{path}");
        assert_eq!(source.versions[&version].file, Ok(at(file)));
        assert!(source.config.is_ok());
    }
}

#[test]
fn a_path_that_could_be_several_models_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let scan = |name: &str| source::scan_path(&at(name), "m", None);
    write(&at("both/1/model.onnx"), "x");
    write(&at("both/model.onnx"), "x");
    assert!(reason(&scan("both")).contains("version 1"));
    write(&at("many/a.onnx"), "x");
    write(&at("many/b.onnx"), "x");
    let many = scan("many");
    assert!(many.versions[&1].file.as_ref().unwrap_err().contains("2 files of models"));
    write(&at("hollow/model.onnx/readme"), "x");
    let hollow = scan("hollow");
    assert!(hollow.versions[&1].file.as_ref().unwrap_err().contains("without a file"));
}

#[test]
fn a_link_is_followed_when_it_appears_and_when_it_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let roots: Roots = [Root::model("m", at("link"))].into_iter().collect();
    let scan = || roots.scan().models.remove("m").unwrap();
    assert!(reason(&scan()).contains("link is not there"));
    assert!(roots.names()["m"].as_ref().unwrap().contains("link is not there"));
    write(&at("v1/model.onnx"), "x");
    write(&at("v2/model.onnx"), "x");
    let point = |to: &str| {
        symlink(at(to), at("new")).unwrap();
        fs::rename(at("new"), at("link")).unwrap();
    };
    point("v1");
    let first = scan().versions;
    assert_eq!(first, scan().versions);
    point("v2");
    assert_ne!(first, scan().versions);
    point("nowhere");
    assert!(reason(&scan()).contains("link is not there"));
}

#[test]
fn a_volume_of_kubernetes_is_followed_when_it_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let swap = |name: &str| {
        symlink(name, at("mnt/..new")).unwrap();
        fs::rename(at("mnt/..new"), at("mnt/..data")).unwrap();
    };
    write(&at("mnt/..2026_1/model.onnx"), "x");
    swap("..2026_1");
    symlink("..data/model.onnx", at("mnt/model.onnx")).unwrap();
    let scan = || source::scan_path(&at("mnt"), "m", None).versions.remove(&1).unwrap();
    let first = scan();
    assert_eq!(first.fingerprint.len(), 1, "the folders behind the links are not watched twice");
    write(&at("mnt/..2026_2/model.onnx"), "x");
    assert_eq!(first, scan());
    swap("..2026_2");
    assert_ne!(first, scan());
}

#[test]
fn weights_in_subfolders_are_part_of_the_version() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write(&at("m/1/model.onnx/model.onnx"), "x");
    write(&at("m/1/model.onnx/weights/w.bin"), "x");
    let scan = || source::scan_folder(&at("m"), "m", None).versions.remove(&1).unwrap();
    let first = scan();
    assert_eq!(first.file, Ok(at("m/1/model.onnx/model.onnx")));
    write(&at("m/1/model.onnx/weights/w.bin"), "yy");
    assert_ne!(first, scan());
}

#[test]
fn sent_files_take_the_place_of_the_folder() {
    let (_folder, roots) = two();
    let files = SentFiles::store([("7/model.onnx", &b"x"[..])]).unwrap();
    let with = LoadWith { config: Some("{}".into()), files: Some(Arc::new(files)) };
    for name in ["one", "new"] {
        let source = roots.scan_model(name, &with).unwrap();
        assert_eq!(source.versions.keys().collect::<Vec<_>>(), [&7]);
        assert!(source.versions[&7].sent.is_some());
    }
    assert_eq!(roots.scan_model("../x", &with), Err(NoSource::Unknown));
    assert_eq!(roots.scan_model("new", &LoadWith::default()), Err(NoSource::Unknown));
}
