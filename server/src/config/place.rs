//! Places that models come from, as flags and settings name them.

use super::Repository;
use crate::stores::{self, Stores, is_store};
use anyhow::{Result, ensure};
use serde::de::{Deserialize, Deserializer, IntoDeserializer};
use skysail_engine::repository::{Root, Roots, is_model_name};
use std::path::Path;
use std::str::FromStr;

/// A place of models with the name of the one that it is, as `NAME=PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedPlace {
    name: String,
    place: String,
}

impl FromStr for NamedPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, place) = text.split_once('=').ok_or("it must be NAME=PATH")?;
        if !is_model_name(name) {
            return Err(format!("'{name}' can not be the name of a model"));
        }
        if place.is_empty() {
            return Err(format!("there is no path after '{name}='"));
        }
        Ok(Self { name: name.into(), place: place.into() })
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
    let texts = match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(text) => vec![text],
        OneOrMany::Many(texts) => texts,
    };
    let read = |text: String| T::deserialize(text.into_deserializer());
    texts.into_iter().map(read).collect()
}

impl Repository {
    /// Checks the places as far as their words go.
    ///
    /// # Errors
    /// A repository is no folder, a URL none of a store, or a place or a name is given twice.
    pub(super) fn check_places(&self) -> Result<()> {
        let real = |place: &str| match is_store(place) {
            true => Some(place.trim_end_matches('/').into()),
            false => Path::new(place).canonicalize().ok(),
        };
        for (at, place) in self.models.iter().enumerate() {
            match is_store(place) {
                true => stores::check(place)?,
                false => {
                    let is_there = Path::new(place).is_dir();
                    ensure!(is_there, "--models {place}: there is no such folder");
                }
            }
            let is_twice = self.models[..at].iter().any(|other| real(other) == real(place));
            ensure!(!is_twice, "--models {place}: it is given twice");
        }
        for (at, NamedPlace { name, place }) in self.model.iter().enumerate() {
            if is_store(place) {
                stores::check(place)?;
            }
            let is_twice = self.model[..at].iter().any(|other| other.name == *name);
            ensure!(!is_twice, "--model {name}=…: there are two models of this name");
        }
        Ok(())
    }

    /// Opens all places for the engine.
    ///
    /// # Errors
    /// A store can not be opened.
    pub(crate) fn open_places(&self, stores: &mut Stores) -> Result<Roots> {
        let repository = |place: &String, stores: &mut Stores| match is_store(place) {
            true => stores.open(place, None),
            false => Ok(Root::repository(place)),
        };
        let mut roots = Vec::new();
        for place in &self.models {
            roots.push(repository(place, stores)?);
        }
        for NamedPlace { name, place } in &self.model {
            roots.push(match is_store(place) {
                true => stores.open(place, Some(name))?,
                false => Root::model(name, place),
            });
        }
        Ok(roots.into_iter().collect())
    }
}
