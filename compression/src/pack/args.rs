//! Values of flags and recipes, parsed from text. Each error says what would be right.

use clap::ValueEnum;
use serde::de::{self, Deserialize, DeserializeOwned, Deserializer, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use toml::Spanned;

/// An error in the flags that shows only in combination or with the model.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadUsage(pub(crate) String);

/// An error in a recipe.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadConfiguration(pub(crate) String);

/// Format of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Text,
    Json,
}

/// A share from 0 to 1, written `0.3` or `30%`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub(crate) struct Share(pub(crate) f64);

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no share: write 0.3 or 30%");
        let (number, unit) = match text.strip_suffix('%') {
            Some(number) => (number, 100.0),
            None => (text, 1.0),
        };
        let number: f64 = number.trim().parse().map_err(|_| wrong())?;
        Self::new(number / unit).ok_or_else(wrong)
    }
}

impl Share {
    fn new(share: f64) -> Option<Self> {
        (0.0..=1.0).contains(&share).then_some(Self(share))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The number is rounded, as 0.07 times 100 is not exactly 7.
        write!(f, "{} %", (self.0 * 1e8).round() / 1e6)
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Shares;

        impl Visitor<'_> for Shares {
            type Value = Share;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a share from 0 to 1, such as 0.3 or \"30%\"")
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Share, E> {
                let wrong = || E::invalid_value(de::Unexpected::Float(number), &self);
                Share::new(number).ok_or_else(wrong)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Share, E> {
                self.visit_f64(number as f64)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Share, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Shares)
    }
}

/// A setting for one layer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LayerSetting<T> {
    pub(crate) layer: String,
    pub(crate) value: T,
    /// Offset of the name in a recipe, in bytes.
    pub(crate) offset: Option<usize>,
}

impl<T: FromStr<Err: fmt::Display>> FromStr for LayerSetting<T> {
    type Err = String;

    /// Parses `NAME=VALUE`; a name may contain equals signs.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.rsplit_once('=').filter(|(layer, _)| !layer.is_empty());
        let (layer, value) = parts.ok_or("write NAME=VALUE")?;
        let value = value.parse().map_err(|error: T::Err| error.to_string())?;
        Ok(Self { layer: layer.to_owned(), value, offset: None })
    }
}

/// Deserializes a table of layers with the offset of each name.
pub(crate) fn by_layer<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<LayerSetting<T>>, D::Error> {
    let table: BTreeMap<Spanned<String>, T> = Deserialize::deserialize(deserializer)?;
    let named = table.into_iter().map(|(layer, value)| {
        let offset = Some(layer.span().start);
        LayerSetting { layer: layer.into_inner(), value, offset }
    });
    Ok(named.collect())
}

/// Parses the least absolute value of a weight that stays: 0 or more.
pub(crate) fn threshold(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(size) if size >= 0.0 && size.is_finite() => Ok(size),
        _ => Err("a threshold is a number, 0 or more".to_owned()),
    }
}

/// Rejects an output path that cannot be written, before any work is done.
pub(crate) fn check_out(path: &Path) -> Result<(), BadUsage> {
    let file = path.display();
    if path.is_dir() {
        return Err(BadUsage(format!("{file} is a folder: name a file in it")));
    }
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
            let folder = folder.display();
            Err(BadUsage(format!(
                "cannot write {file}: there is no folder {folder}, make it first"
            )))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_numbers_or_percentages() {
        assert_eq!("0.3".parse(), Ok(Share(0.3)));
        assert_eq!("0.5%".parse(), Ok(Share(0.005)));
        assert_eq!("7%".parse::<Share>().unwrap().to_string(), "7 %");
        for wrong in ["", "%", "101%", "-0.1", "2", "nan", "half"] {
            let message = wrong.parse::<Share>().unwrap_err();
            assert!(message.contains("write 0.3 or 30%"), "{message}");
        }
    }

    #[test]
    fn a_layer_may_have_equals_signs_in_its_name() {
        let named: LayerSetting<u8> = "a=b/w=5".parse().unwrap();
        assert_eq!((named.layer.as_str(), named.value, named.offset), ("a=b/w", 5, None));
        for wrong in ["", "w", "=5", "w=", "w=x", "w=256"] {
            assert!(wrong.parse::<LayerSetting<u8>>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_not_negative() {
        assert_eq!(threshold("0.01"), Ok(0.01));
        assert!(["-1", "nan", "inf", "x"].iter().all(|wrong| threshold(wrong).is_err()));
    }
}
