//! Scans the repository's folder for `DIR/NAME/VERSION/model.onnx` or `model.sky`, with an optional
//! `DIR/NAME/model.toml` or `DIR/NAME/config.pbtxt`.

use super::triton;
use crate::config::ModelConfig;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Bytes of the largest settings file that is read.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// Contents of one model's folder.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ModelSource {
    /// Folder `DIR/NAME`.
    pub(crate) folder: PathBuf,
    /// Settings, or the reason why they can not be read.
    pub(crate) config: Result<ModelConfig, String>,
    /// Warnings about settings without effect.
    pub(crate) warnings: Vec<String>,
    /// Files by version.
    pub(crate) versions: BTreeMap<u64, VersionSource>,
}

/// State of a file: path, length, time of change and inode. A rewritten file differs in one of them.
pub(crate) type FileState = (PathBuf, u64, Option<SystemTime>, u64);

/// File of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VersionSource {
    /// Folder `DIR/NAME/VERSION`.
    pub(crate) folder: PathBuf,
    /// Path of the model's file, or the reason why there is none.
    pub(crate) file: Result<PathBuf, String>,
    /// State of each file in the version's folder.
    pub(crate) fingerprint: Vec<FileState>,
}

/// Scans all models of the repository.
///
/// # Errors
/// The folder itself can not be read. Errors of one model are in its entry.
pub(crate) fn scan(models: &Path) -> io::Result<BTreeMap<String, ModelSource>> {
    let scanned = |name: String| {
        let source = scan_model(&models.join(&name), &name, None);
        (name, source)
    };
    Ok(names(models)?.into_iter().map(scanned).collect())
}

/// Names of all models of the repository.
///
/// # Errors
/// The folder can not be read.
pub(crate) fn names(models: &Path) -> io::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(models)? {
        let folder = entry?.path();
        let name = folder.file_name().and_then(|name| name.to_str());
        if let Some(name) = name.filter(|name| !name.starts_with('.') && folder.is_dir()) {
            names.insert(name.to_owned());
        }
    }
    Ok(names)
}

/// Scans one model; `config` replaces the settings in its folder.
pub(crate) fn scan_model(folder: &Path, name: &str, config: Option<&str>) -> ModelSource {
    let read = match config {
        Some(json) => triton::from_json(json, name),
        None => read_config(folder, name),
    };
    let (config, warnings) = match read {
        Ok((config, warnings)) => (check(config), warnings),
        Err(error) => (Err(error), Vec::new()),
    };
    let default = ModelConfig::default();
    let file_names = config.as_ref().unwrap_or(&default).file_names();
    let versions = scan_versions(folder, &file_names);
    ModelSource { folder: folder.to_owned(), config, warnings, versions }
}

fn check(config: ModelConfig) -> Result<ModelConfig, String> {
    config.check()?;
    match config.file_names().into_iter().find(|name| !is_plain(name)) {
        Some(name) => Err(format!("'{name}' is not the name of a file in a version's folder")),
        None => Ok(config),
    }
}

/// True if a name is a plain file name, which leads nowhere outside of its folder.
pub(crate) fn is_plain(name: &str) -> bool {
    Path::new(name).file_name().is_some_and(|plain| plain == name)
}

fn read_config(folder: &Path, name: &str) -> Result<(ModelConfig, Vec<String>), String> {
    let (toml, pbtxt) = (folder.join("model.toml"), folder.join("config.pbtxt"));
    if toml.is_file() {
        let config = ModelConfig::from_toml(&read_text(&toml)?)
            .map_err(|error| format!("{}: {error}", toml.display()))?;
        let warnings = match pbtxt.is_file() {
            true => vec![format!("{} is not read: model.toml goes before it", pbtxt.display())],
            false => Vec::new(),
        };
        return Ok((config, warnings));
    }
    if pbtxt.is_file() {
        return triton::from_text(&read_text(&pbtxt)?, name)
            .map_err(|error| format!("{}: {error}", pbtxt.display()));
    }
    Ok((ModelConfig::default(), Vec::new()))
}

fn read_text(path: &Path) -> Result<String, String> {
    let with_path = |error: io::Error| format!("{}: {error}", path.display());
    if fs::metadata(path).map_err(with_path)?.len() > CONFIG_BYTES_MAX {
        return Err(format!("{}: larger than {CONFIG_BYTES_MAX} bytes", path.display()));
    }
    fs::read_to_string(path).map_err(with_path)
}

fn scan_versions(folder: &Path, file_names: &[&str]) -> BTreeMap<u64, VersionSource> {
    let mut versions = BTreeMap::new();
    let Ok(entries) = fs::read_dir(folder) else { return versions };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let folder = entry.path();
        let file = model_file(&folder, file_names).transpose();
        if let (Some(version), Some(file)) = (name.to_str().and_then(version_of), file) {
            let fingerprint = fingerprint(&folder);
            versions.insert(version, VersionSource { folder, file, fingerprint });
        }
    }
    versions
}

/// Finds the file of a version's folder that has one of these names.
///
/// # Errors
/// The folder has several such files.
fn model_file(folder: &Path, names: &[&str]) -> Result<Option<PathBuf>, String> {
    let mut there = names.iter().filter(|name| folder.join(name).exists());
    match (there.next(), there.next()) {
        (Some(one), Some(other)) => Err(format!(
            "it has {one} and {other}: take one of them away, or let file in model.toml say which"
        )),
        (one, _) => Ok(one.map(|name| folder.join(name))),
    }
}

/// Version of a folder by its name. Only one spelling counts, so that no two folders are the same
/// version.
fn version_of(name: &str) -> Option<u64> {
    let version = name.parse::<u64>().ok();
    version.filter(|version| *version > 0 && version.to_string() == name)
}

fn fingerprint(folder: &Path) -> Vec<FileState> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<_> = entries
        .flatten()
        .filter_map(|entry| {
            let metadata = fs::metadata(entry.path()).ok()?;
            let modified = metadata.modified().ok();
            Some((entry.path(), metadata.len(), modified, metadata.ino()))
        })
        .collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let models = scan(folder.path()).unwrap();
        assert_eq!(models.keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(models["a"].versions.keys().collect::<Vec<_>>(), [&1, &12]);
    }

    #[test]
    fn a_version_has_a_model_or_a_package_and_not_both() {
        let folder = tempfile::tempdir().unwrap();
        for file in ["1/model.onnx", "2/model.sky", "3/model.onnx", "3/model.sky"] {
            write(&folder.path().join("a").join(file), "x");
        }
        let scanned = || scan(folder.path()).unwrap().remove("a").unwrap().versions;
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
        let before = scan(folder.path()).unwrap();
        assert_eq!(before, scan(folder.path()).unwrap());
        write(&file, "xy");
        assert_ne!(before, scan(folder.path()).unwrap());
    }

    #[test]
    fn an_error_in_model_toml_has_its_path() {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("a/model.toml"), "max_batch = 3");
        let models = scan(folder.path()).unwrap();
        let error = models["a"].config.as_ref().unwrap_err();
        assert!(error.contains("a/model.toml") && error.contains("max_batch"), "{error}");
    }

    #[test]
    fn model_toml_takes_precedence_over_config_pbtxt() {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("a/config.pbtxt"), "max_batch_size: 4");
        let models = scan(folder.path()).unwrap();
        assert_eq!(models["a"].config.as_ref().unwrap().max_batch_size, Some(4));
        assert_eq!(models["a"].warnings.len(), 0);
        write(&folder.path().join("a/model.toml"), "max_batch_size = 7\nfile = 'm.onnx'");
        write(&folder.path().join("a/1/m.onnx"), "x");
        write(&folder.path().join("a/2/model.onnx"), "x");
        let models = scan(folder.path()).unwrap();
        assert_eq!(models["a"].config.as_ref().unwrap().max_batch_size, Some(7));
        assert!(models["a"].warnings[0].contains("config.pbtxt is not read"));
        assert_eq!(models["a"].versions.keys().collect::<Vec<_>>(), [&1]);
    }

    #[test]
    fn given_settings_replace_those_in_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("model.toml"), "max_batch_size = 7");
        let source = scan_model(folder.path(), "a", Some(r#"{"max_batch_size": 3}"#));
        assert_eq!(source.config.unwrap().max_batch_size, Some(3));
        let source = scan_model(folder.path(), "a", Some("{"));
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
        let models = scan(folder.path()).unwrap();
        let error = models["a"].config.as_ref().unwrap_err();
        assert!(error.contains("'../1/model.onnx'"), "{error}");
    }

    #[test]
    fn a_settings_file_has_a_size_limit() {
        let folder = tempfile::tempdir().unwrap();
        let text = "#".repeat(CONFIG_BYTES_MAX as usize + 1);
        write(&folder.path().join("a/model.toml"), &text);
        let models = scan(folder.path()).unwrap();
        let error = models["a"].config.as_ref().unwrap_err();
        assert!(error.contains("larger than 1048576 bytes"), "{error}");
    }
}
