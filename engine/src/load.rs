//! Parts of loading one version: checks against its graph and configuration, trial runs, and
//! calibration.

pub(crate) mod batchability;
pub(crate) mod calibrate;
pub(crate) mod expected_tensors;
pub(crate) mod graph_signature;
pub(crate) mod loader;
pub(crate) mod padding_probe;
mod replica_planner;
pub(crate) mod row_comparison;
pub(crate) mod synthetic;
pub(crate) mod trial_run;
pub(crate) mod warm_up;

use crate::config::ModelConfig;
use crate::repository::source::VersionSource;
use expected_tensors::Mismatch;
use std::path::{Path, PathBuf};

/// Extension of a package's file name.
const PACKAGE_EXTENSION: &str = "sky";

/// A version to be loaded.
pub(crate) struct LoadTarget<'a> {
    /// Name of the model.
    pub(crate) name: &'a str,
    /// Number of the version.
    pub(crate) version: u64,
    /// Folder of the model.
    pub(crate) folder: &'a Path,
    /// Settings of the model.
    pub(crate) config: &'a ModelConfig,
    /// File of the version.
    pub(crate) source: &'a VersionSource,
}

impl LoadTarget<'_> {
    /// Names the place in the configuration of what does not fit the graph.
    fn in_configuration(&self, mismatch: &Mismatch) -> String {
        let Mismatch { field, problem } = mismatch;
        match self.config.lines.line(field) {
            Some(line) => {
                let file = self.folder.join("config.pbtxt");
                format!("{}: line {line}: {field}: {problem}", file.display())
            }
            // It came as JSON, with the request to load the model.
            None => format!("the configuration: {field}: {problem}"),
        }
    }

    /// Libraries of operators that the version may use: those of all models, and its own.
    ///
    /// # Errors
    /// One of its own is missing, or leads out of the model's folder.
    pub(crate) fn operator_libraries(&self, of_all: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
        let mut libraries = of_all.to_vec();
        for file in &self.config.operator_libraries {
            let path = self.folder.join(file);
            let with_path =
                |error: std::io::Error| format!("operator library {}: {error}", path.display());
            let (found, folder) = (path.canonicalize(), self.folder.canonicalize());
            let found = found.map_err(with_path)?;
            if !found.starts_with(folder.map_err(with_path)?) {
                let path = path.display();
                return Err(format!("operator library {path}: it leads out of the model's folder"));
            }
            libraries.push(found);
        }
        Ok(libraries)
    }
}

/// True if a file is a package, by its name.
pub(crate) fn is_package(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == PACKAGE_EXTENSION)
}
