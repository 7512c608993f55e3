//! Places that models come from, as flags and settings name them.

use anyhow::{Result, ensure};
use serde::de::{Deserialize, Deserializer};
use skysail_engine::repository::{Root, Roots, is_model_name};
use std::path::PathBuf;
use std::str::FromStr;

/// A place of models with the name of the one that it is, as `NAME=PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedPlace {
    name: String,
    path: PathBuf,
}

impl FromStr for NamedPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, path) = text.split_once('=').ok_or("it must be NAME=PATH")?;
        if !is_model_name(name) {
            return Err(format!("'{name}' can not be the name of a model"));
        }
        if path.is_empty() {
            return Err(format!("there is no path after '{name}='"));
        }
        Ok(Self { name: name.into(), path: path.into() })
    }
}

impl<'de> Deserialize<'de> for NamedPlace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error| serde::de::Error::custom(format!("'{text}': {error}")))
    }
}

/// Reads one value or a list of values.
pub(super) fn one_or_many<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    #[derive(serde::Deserialize)]
    #[serde(untagged, expecting = "a string or a list of strings")]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    use serde::de::IntoDeserializer;
    let texts = match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(text) => vec![text],
        OneOrMany::Many(texts) => texts,
    };
    let read = |text: String| T::deserialize(text.into_deserializer());
    texts.into_iter().map(read).collect()
}

/// Checks the places as far as their words go.
///
/// # Errors
/// A repository is no folder, or a place or a name is given twice.
pub(super) fn check(models: &[PathBuf], named: &[NamedPlace]) -> Result<()> {
    for (at, folder) in models.iter().enumerate() {
        ensure!(folder.is_dir(), "--models {}: there is no such folder", folder.display());
        let same = |other: &PathBuf| other.canonicalize().ok() == folder.canonicalize().ok();
        ensure!(!models[..at].iter().any(same), "--models {}: it is given twice", folder.display());
    }
    for (at, NamedPlace { name, .. }) in named.iter().enumerate() {
        let is_twice = named[..at].iter().any(|other| other.name == *name);
        ensure!(!is_twice, "--model {name}=…: there are two models of this name");
    }
    Ok(())
}

/// The engine's places.
pub(super) fn roots(models: &[PathBuf], named: &[NamedPlace]) -> Roots {
    let repositories = models.iter().map(Root::repository);
    repositories.chain(named.iter().map(|place| Root::model(&place.name, &place.path))).collect()
}
