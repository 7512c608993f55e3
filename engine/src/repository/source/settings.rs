//! Settings of a model, from its `model.toml` or `config.pbtxt`.

use super::is_plain;
use crate::config::ModelConfig;
use crate::repository::triton;
use std::fs;
use std::io;
use std::path::Path;

/// Bytes of the largest settings file that is read.
pub(super) const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// Reads the settings of a model: `given` as Triton's JSON, or else those in its folder. Beside them
/// are warnings about settings without effect.
pub(super) fn read(
    folder: &Path,
    name: &str,
    given: Option<&str>,
) -> (Result<ModelConfig, String>, Vec<String>) {
    let read = match given {
        Some(json) => triton::from_json(json, name),
        None => read_config(folder, name),
    };
    match read {
        Ok((config, warnings)) => (check(config), warnings),
        Err(error) => (Err(error), Vec::new()),
    }
}

fn check(config: ModelConfig) -> Result<ModelConfig, String> {
    config.check()?;
    match config.file_names().into_iter().find(|name| !is_plain(name)) {
        Some(name) => Err(format!("'{name}' is not the name of a file in a version's folder")),
        None => Ok(config),
    }
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
