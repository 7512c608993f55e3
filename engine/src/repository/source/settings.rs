//! Settings of a model, from its `model.toml` or `config.pbtxt`.

use super::is_plain;
use crate::config::ModelConfig;
use crate::regular_file;
use crate::repository::triton;
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
        Some(json) => triton::from_json(json, name).map(|read| ("the configuration".into(), read)),
        None => read_config(folder, name),
    };
    match read {
        Ok((place, (config, warnings))) => {
            (check(config).map_err(|error| format!("{place}: {error}")), warnings)
        }
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

/// Reads the settings in a folder, with the name of their file.
fn read_config(folder: &Path, name: &str) -> Result<(String, (ModelConfig, Vec<String>)), String> {
    let (toml, pbtxt) = (folder.join("model.toml"), folder.join("config.pbtxt"));
    if is_there(&toml) {
        let config = ModelConfig::from_toml(&read_text(&toml)?)
            .map_err(|error| format!("{}: {error}", toml.display()))?;
        let warnings = match is_there(&pbtxt) {
            true => vec![format!("{} is not read: model.toml goes before it", pbtxt.display())],
            false => Vec::new(),
        };
        return Ok((toml.display().to_string(), (config, warnings)));
    }
    if is_there(&pbtxt) {
        let file = pbtxt.display().to_string();
        let read = triton::from_text(&read_text(&pbtxt)?, name);
        return read.map_err(|error| format!("{file}: {error}")).map(|read| (file, read));
    }
    Ok((String::new(), (ModelConfig::default(), Vec::new())))
}

/// True for whatever has the name of a file, so that what is no file is not taken for none.
fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn read_text(path: &Path) -> Result<String, String> {
    let with_path = |why: &str| format!("{} {why}", path.display());
    let bytes = regular_file::read(path, CONFIG_BYTES_MAX).map_err(|why| with_path(&why))?;
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        with_path(&format!("is not UTF-8 in line {line}"))
    })
}
