//! What is said about a model beside its graph and values: JSON, to be read by people and
//! programs alike.
//!
//! Fields that this version does not know are kept and written again. A field that is added
//! later must be one that a reader can do without.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Fields that this version does not know.
type Others = Map<String, Value>;

/// All that a package says about its model. Names, shapes and codecs of tensors are those of the
/// graph and of the index, so they are not repeated here.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Manifest {
    /// The model's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its version, in whatever terms its owner has.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Who answers for it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// The licence, if possible as an SPDX identifier.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub licence: String,
    /// When it was packaged, as RFC 3339 has it. Empty unless said, so that the same model gives
    /// the same bytes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub created: String,
    /// What it was made from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<Parent>,
    /// What was done to the whole model, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// What was done to each tensor, by its name, in order.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tensors: BTreeMap<String, Vec<Step>>,
    /// How well it does, before and after.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accuracy: Vec<Accuracy>,
    /// The training that it comes from: a digest of code and settings, or a run's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub training: String,
    /// The data that it was trained on and tried with: a name each, and a digest of the bytes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, String>,
    /// What its inputs look like, by name, to tell drift from.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, Statistics>,
    /// What its outputs look like for those inputs.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, Statistics>,
    /// Anything else, such as that float32 was kept because it was faster.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub others: Others,
}

/// A model that another was made from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Parent {
    /// Its name.
    pub name: String,
    /// SHA-256 of its file, in hexadecimal digits.
    pub sha256: String,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub others: Others,
}

/// Something that was done.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Step {
    /// What, as a verb: `prune`, `cluster`, `quantize`.
    pub what: String,
    /// With which settings.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub settings: Map<String, Value>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub others: Others,
}

/// A measure of how well the model does.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Accuracy {
    /// What is measured, such as `top1` or `cosine`.
    pub measure: String,
    /// Before anything was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<f64>,
    /// Of the model in the package.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<f64>,
    /// On which data, as named in [`Manifest::data`].
    #[serde(skip_serializing_if = "String::is_empty")]
    pub data: String,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub others: Others,
}

/// What the elements of an input or an output look like.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Statistics {
    /// How many elements were seen.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation.
    pub deviation: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// What divides them into parts of equal number, ascending: a median, or 99 percentiles.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub quantiles: Vec<f64>,
    /// Fields that this version does not know.
    #[serde(flatten)]
    pub others: Others,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_is_kept() {
        let text =
            r#"{"name":"m","accuracy":[{"measure":"top1","after":0.5,"seed":7}],"colour":["red"]}"#;
        let manifest: Manifest = serde_json::from_str(text).unwrap();
        assert_eq!(manifest.accuracy[0].after, Some(0.5));
        assert_eq!(manifest.others["colour"][0], "red");
        let written: Value = serde_json::to_value(&manifest).unwrap();
        assert_eq!(written, serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn nothing_said_is_nothing_written() {
        assert_eq!(serde_json::to_string(&Manifest::default()).unwrap(), "{}");
        assert_eq!(serde_json::from_str::<Manifest>("{}").unwrap(), Manifest::default());
    }
}
