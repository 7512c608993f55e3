//! The manifest: information about a model beside its graph and values. It is JSON, for people and
//! programs.
//!
//! Unknown fields are kept and written again. Later versions may only add fields that a reader can
//! ignore.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Unknown fields.
type Others = Map<String, Value>;

/// Information about the model of a package. Names, shapes and codecs of tensors are in the graph
/// and the index, so they are not repeated here.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Manifest {
    /// Name of the model.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Version of the model, in the owner's terms.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Person or team responsible for the model.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// Licence, if possible as an SPDX identifier.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub licence: String,
    /// Time of packaging, as in RFC 3339. It is empty by default, so that the same model has the
    /// same bytes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub created: String,
    /// Files that the model was made from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<Parent>,
    /// Steps applied to the whole model, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// Steps applied to each tensor, by its name, in order.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tensors: BTreeMap<String, Vec<Step>>,
    /// Accuracy before and after compression.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accuracy: Vec<Accuracy>,
    /// Training run of the model: a digest of code and settings, or a name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub training: String,
    /// Data for training and evaluation: names, and digests of the bytes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, String>,
    /// Statistics of the inputs by name, a reference to detect drift.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, Statistics>,
    /// Statistics of the outputs for those inputs.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, Statistics>,
    /// Other information, such as that float32 was kept because it was faster.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Unknown fields.
    #[serde(flatten)]
    pub others: Others,
}

/// A model that another was made from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Parent {
    /// Name of the model.
    pub name: String,
    /// SHA-256 of the file, in hexadecimal digits.
    pub sha256: String,
    /// Unknown fields.
    #[serde(flatten)]
    pub others: Others,
}

/// A compression step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Step {
    /// Action, as a verb: `prune`, `cluster`, `quantize`.
    pub what: String,
    /// Settings of the step.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub settings: Map<String, Value>,
    /// Unknown fields.
    #[serde(flatten)]
    pub others: Others,
}

/// A measure of the model's accuracy.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Accuracy {
    /// Name of the measure, such as `top1` or `cosine`.
    pub measure: String,
    /// Value before the first step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<f64>,
    /// Value of the model in the package.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<f64>,
    /// Name of the data, as in [`Manifest::data`].
    #[serde(skip_serializing_if = "String::is_empty")]
    pub data: String,
    /// Unknown fields.
    #[serde(flatten)]
    pub others: Others,
}

/// Statistics of the elements of an input or an output.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Statistics {
    /// Number of elements.
    pub count: u64,
    /// Mean.
    pub mean: f64,
    /// Standard deviation.
    pub deviation: f64,
    /// Smallest element.
    pub min: f64,
    /// Largest element.
    pub max: f64,
    /// Quantiles that divide the elements into parts of equal number, ascending: a median, or 99
    /// percentiles.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub quantiles: Vec<f64>,
    /// Unknown fields.
    #[serde(flatten)]
    pub others: Others,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_are_kept() {
        let text =
            r#"{"name":"m","accuracy":[{"measure":"top1","after":0.5,"seed":7}],"colour":["red"]}"#;
        let manifest: Manifest = serde_json::from_str(text).unwrap();
        assert_eq!(manifest.accuracy[0].after, Some(0.5));
        assert_eq!(manifest.others["colour"][0], "red");
        let written: Value = serde_json::to_value(&manifest).unwrap();
        assert_eq!(written, serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn an_empty_manifest_is_an_empty_object() {
        assert_eq!(serde_json::to_string(&Manifest::default()).unwrap(), "{}");
        assert_eq!(serde_json::from_str::<Manifest>("{}").unwrap(), Manifest::default());
    }
}
