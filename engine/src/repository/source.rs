//! A model as it lies on disk: its settings, and the files of its versions.
//!
//! A model's folder has `VERSION/model.onnx` or `VERSION/model.sky`, and optionally `model.toml` or
//! `config.pbtxt`. In place of a file, `model.onnx` may be a folder with the file and its weights.
//! A model with a path of its own may also be a file, or a folder with the file directly in it.

mod fingerprint;
mod settings;
#[cfg(test)]
mod tests;

use super::sent_files::SentFiles;
use crate::config::{FILE_NAMES, ModelConfig};
use crate::regular_file;
pub(crate) use fingerprint::{FILES_MAX, FileState};
use fingerprint::{fingerprint, states};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Extensions of the files that are models.
const EXTENSIONS: [&str; 2] = ["onnx", "sky"];

/// Version of a model whose files lie in no version's folder.
const ONLY_VERSION: u64 = 1;

/// A model on disk.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ModelSource {
    /// Folder of the model: settings, warm-up data and labels lie in it.
    pub(crate) folder: PathBuf,
    /// Settings, or the reason why the model can not be read.
    pub(crate) config: Result<ModelConfig, String>,
    /// Warnings about settings without effect.
    pub(crate) warnings: Vec<String>,
    /// Files by version.
    pub(crate) versions: BTreeMap<u64, VersionSource>,
    /// True if its files are still being copied to this machine.
    pub(crate) is_coming: bool,
}

/// Files of one version.
#[derive(Clone, Debug)]
pub(crate) struct VersionSource {
    /// Folder of the version.
    pub(crate) folder: PathBuf,
    /// Path of the model's file, or the reason why there is none.
    pub(crate) file: Result<PathBuf, String>,
    /// State of each file of the version.
    pub(crate) fingerprint: Vec<FileState>,
    /// States of the model's files of labels, which all versions share.
    pub(crate) labels: Vec<FileState>,
    /// Files that came with the request to load the model. They exist as long as this does.
    pub(crate) sent: Option<Arc<SentFiles>>,
}

/// Compares files, not folders. A copy of a store moves with each change, and versions that did not
/// change are to serve on.
impl PartialEq for VersionSource {
    fn eq(&self, other: &Self) -> bool {
        let below = |source: &Self| {
            let file = source.file.as_deref().map_err(String::clone);
            file.map(|file| file.strip_prefix(&source.folder).unwrap_or(file).to_owned())
        };
        (&self.fingerprint, &self.labels, below(self))
            == (&other.fingerprint, &other.labels, below(other))
    }
}

impl VersionSource {
    fn new(folder: PathBuf, file: Result<PathBuf, String>, fingerprint: Vec<FileState>) -> Self {
        let file = file.and_then(|file| match regular_file::check(&file) {
            Err(Some(why)) => Err(format!("{} {why}", file.display())),
            // One that has just gone is not there at the next scan.
            Ok(()) | Err(None) => Ok(file),
        });
        Self { folder, file, fingerprint, labels: Vec::new(), sent: None }
    }
}

impl ModelSource {
    /// Adds the states of the files of labels.
    fn with_labels(mut self) -> Self {
        let files = self.config.iter().flat_map(|config| config.labels.values());
        let labels = states(&self.folder, files.map(PathBuf::from));
        self.versions.values_mut().for_each(|version| version.labels.clone_from(&labels));
        self
    }

    /// A model that can not be read, for this reason.
    pub(crate) fn unreadable(path: &Path, reason: String) -> Self {
        let (warnings, versions) = (Vec::new(), BTreeMap::new());
        Self { folder: path.to_owned(), config: Err(reason), warnings, versions, is_coming: false }
    }

    /// Reason why these settings let no version serve, if they do not.
    pub(crate) fn nothing_to_serve(&self, config: &ModelConfig) -> Option<String> {
        let found = self.versions.keys().copied().collect();
        let file = config.file_names().join(" or ");
        let is_none = config.versions.wanted(&found).is_empty();
        is_none.then(|| format!("no version is to serve: no VERSION/{file} that fits"))
    }

    /// A model whose files are still being copied to this machine.
    pub(crate) fn coming(path: &Path, reason: String) -> Self {
        Self { is_coming: true, ..Self::unreadable(path, reason) }
    }
}

/// Scans a model's folder; `config` replaces the settings in it.
pub(crate) fn scan_folder(folder: &Path, name: &str, config: Option<&str>) -> ModelSource {
    let (config, warnings) = settings::read(folder, name, config);
    let file_names = file_names(&config);
    let versions = scan_versions(folder, &file_names);
    ModelSource { folder: folder.to_owned(), config, warnings, versions, is_coming: false }
        .with_labels()
}

/// Scans a model with a path of its own: a file, a folder with the file directly in it, or a model's
/// folder.
pub(crate) fn scan_path(path: &Path, name: &str, config: Option<&str>) -> ModelSource {
    let Ok(metadata) = fs::metadata(path) else {
        let reason = format!("{} is not there, or leads nowhere", path.display());
        return ModelSource::unreadable(path, reason);
    };
    if !metadata.is_dir() {
        return scan_file(path, name, config);
    }
    let mut source = scan_folder(path, name, config);
    let names = file_names(&source.config);
    let Some(file) = direct_file(path, &names).transpose() else { return source };
    if let Some(version) = source.versions.keys().next() {
        source.config = Err(format!(
            "{} has a model's file and a folder of version {version}: take one of them away",
            path.display()
        ));
        return source;
    }
    let fingerprint = fingerprint(path, |_| true);
    let version = VersionSource::new(path.to_owned(), file, fingerprint);
    source.versions.insert(ONLY_VERSION, version);
    source.with_labels()
}

/// Scans a model that is one file, with its weights in files beside it whose names begin alike.
fn scan_file(path: &Path, name: &str, config: Option<&str>) -> ModelSource {
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    let (config, warnings) = match config {
        Some(_) => settings::read(&folder, name, config),
        None => (Ok(ModelConfig::default()), Vec::new()),
    };
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let file_name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let of_it = |name: &str| {
        name.starts_with(file_name)
            || name.strip_prefix(stem).is_some_and(|rest| rest.starts_with('.'))
    };
    let fingerprint = fingerprint(&folder, of_it);
    let file = Ok(path.to_owned());
    let version = VersionSource::new(folder.clone(), file, fingerprint);
    let versions = [(ONLY_VERSION, version)].into();
    ModelSource { folder, config, warnings, versions, is_coming: false }.with_labels()
}

/// Names of the models in a repository's folder.
///
/// # Errors
/// The folder can not be read.
pub(crate) fn names(folder: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let folder = entry?.path();
        let name = folder.file_name().and_then(|name| name.to_str());
        if let Some(name) = name.filter(|name| is_model_name(name) && folder.is_dir()) {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// True if a folder is a model rather than a repository.
pub(crate) fn is_model_itself(folder: &Path) -> bool {
    FILE_NAMES.iter().any(|name| folder.join(name).is_file())
}

/// True if a folder of this name is a model of its repository.
pub fn is_model_name(name: &str) -> bool {
    is_plain(name) && !name.starts_with('.')
}

/// True if a name is a plain file name, which leads nowhere outside of its folder.
pub(crate) fn is_plain(name: &str) -> bool {
    Path::new(name).file_name().is_some_and(|plain| plain == name)
}

fn file_names(config: &Result<ModelConfig, String>) -> Vec<String> {
    let names = config.as_ref().map_or(FILE_NAMES.to_vec(), ModelConfig::file_names);
    names.into_iter().map(str::to_owned).collect()
}

fn scan_versions(folder: &Path, file_names: &[String]) -> BTreeMap<u64, VersionSource> {
    let mut versions = BTreeMap::new();
    let Ok(entries) = fs::read_dir(folder) else { return versions };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let folder = entry.path();
        let file = model_file(&folder, file_names).transpose();
        if let (Some(version), Some(file)) = (name.to_str().and_then(version_of), file) {
            let fingerprint = fingerprint(&folder, |_| true);
            versions.insert(version, VersionSource::new(folder, file, fingerprint));
        }
    }
    versions
}

/// Finds the file of a version's folder that has one of these names, or is in a folder of this name.
///
/// # Errors
/// The folder has several such files, or the folder of this name has none.
fn model_file(folder: &Path, names: &[String]) -> Result<Option<PathBuf>, String> {
    let mut there = names.iter().filter(|name| folder.join(name).exists());
    let path = match (there.next(), there.next()) {
        (Some(one), Some(other)) => {
            return Err(format!(
                "it has {one} and {other}: take one of them away, or let file in model.toml say \
                 which"
            ));
        }
        (Some(one), None) => folder.join(one),
        (None, _) => return Ok(None),
    };
    if !path.is_dir() {
        return Ok(Some(path));
    }
    let inner = FILE_NAMES.iter().map(|name| path.join(name)).find(|file| file.is_file());
    inner.map(Some).ok_or_else(|| {
        format!("{} is a folder without a file {} in it", path.display(), FILE_NAMES.join(" or "))
    })
}

/// Finds the file of a model directly in its folder: by name, or the only one of its kind.
fn direct_file(folder: &Path, names: &[String]) -> Result<Option<PathBuf>, String> {
    let named = model_file(folder, names)?;
    if named.is_some() {
        return Ok(named);
    }
    let Ok(entries) = fs::read_dir(folder) else { return Ok(None) };
    let is_model = |path: &PathBuf| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        extension.is_some_and(|extension| EXTENSIONS.contains(&extension)) && path.is_file()
    };
    let mut files: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(is_model).collect();
    match files.len() {
        0 | 1 => Ok(files.pop()),
        count => Err(format!(
            "{} has {count} files of models: name one of them, or call it {}",
            folder.display(),
            names.join(" or ")
        )),
    }
}

/// Version of a folder by its name. Only one spelling counts, so that no two folders are the same
/// version.
fn version_of(name: &str) -> Option<u64> {
    let version = name.parse::<u64>().ok();
    version.filter(|version| *version > 0 && version.to_string() == name)
}
