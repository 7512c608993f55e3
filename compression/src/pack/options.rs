//! Options of `pack`, from flags, from a recipe, or from both.

use crate::args::{LayerSetting, Share, by_layer, threshold};
use crate::compare::Measure;
use clap::{Args, ValueEnum};
use serde::Deserialize;
use skysail_compression::{ClusterInit, HalfFormat, RangeRule};
use std::path::PathBuf;

/// Options of `pack`. In a recipe, the names of the flags are the keys.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Options {
    /// Keep only the largest weights, as a share of all weights of the model, such as 0.3 or 30%
    /// [default: no pruning]
    #[arg(long, help_heading = "Prune", value_name = "DENSITY")]
    pub(crate) prune: Option<Share>,
    /// Keep this share of one layer's weights, such as fc1.weight=30%; overrides --prune and
    /// --threshold for the layer; may be repeated
    #[arg(long, help_heading = "Prune", value_name = "NAME=DENSITY")]
    #[serde(deserialize_with = "by_layer")]
    pub(crate) prune_layer: Vec<LayerSetting<Share>>,
    /// Keep only weights whose absolute value is at least SIZE; excludes --prune
    #[arg(long, help_heading = "Prune", value_name = "SIZE", value_parser = threshold)]
    pub(crate) threshold: Option<f32>,

    /// Replace the weights of each layer by 2^BITS shared values, BITS from 1 to 16 [default: no
    /// sharing]
    #[arg(long, help_heading = "Share weights", value_name = "BITS")]
    pub(crate) bits: Option<u8>,
    /// Use other BITS for one layer, such as fc1.weight=4; may be repeated
    #[arg(long, help_heading = "Share weights", value_name = "NAME=BITS")]
    #[serde(deserialize_with = "by_layer")]
    pub(crate) bits_layer: Vec<LayerSetting<u8>>,
    /// First guess of the shared values, which clustering then improves [default: linear]
    #[arg(long, help_heading = "Share weights", value_enum, value_name = "METHOD")]
    pub(crate) init: Option<Init>,

    /// Compute with 8-bit integers instead of float32. Static finds the ranges of activations
    /// beforehand, dynamic while the model runs. Both versions are timed on this machine, and
    /// float32 stays unless int8 is faster [default: float32]
    #[arg(long, help_heading = "Fewer bits", value_enum, value_name = "METHOD")]
    pub(crate) int8: Option<Int8>,
    /// Typical inputs, in the form of --data: for the ranges of static int8, for --smooth, and to
    /// time int8
    #[arg(long, help_heading = "Fewer bits", value_name = "FILE_OR_FOLDER")]
    pub(crate) calibrate: Option<PathBuf>,
    /// Rule that chooses the ranges of static int8 [default: min-max]
    #[arg(long, help_heading = "Fewer bits", value_enum, value_name = "METHOD")]
    pub(crate) range_rule: Option<Ranges>,
    /// Before int8, move the large values of some activation channels into the weights
    /// (SmoothQuant); it helps transformers. Dynamic int8 with --calibrate always does so
    #[arg(long, help_heading = "Fewer bits")]
    pub(crate) smooth: bool,
    /// Use int8 even if float32 is faster
    #[arg(long, help_heading = "Fewer bits")]
    pub(crate) force: bool,
    /// Store the remaining float32 matrices in 16-bit floats; arithmetic stays in float32 [default:
    /// float32]
    #[arg(long, help_heading = "Fewer bits", value_enum, value_name = "FORMAT")]
    pub(crate) half: Option<Half>,
    /// Store matrices in 4-bit codes. Only ONNX Runtime can then run the model; `unpack` restores
    /// plain ONNX
    #[arg(long, help_heading = "Fewer bits")]
    pub(crate) int4: bool,

    /// Data to compare the model on before and after. An .npz file has arrays named as the model's
    /// inputs, and optionally `labels`, the right class of each row. A folder has input_0.npy,
    /// input_1.npy... in the order of the inputs, or folders test_data_set_0, test_data_set_1... of
    /// such files
    #[arg(long, help_heading = "Accuracy", value_name = "FILE_OR_FOLDER")]
    pub(crate) data: Option<PathBuf>,
    /// Write no package if more than this share of the measure is lost on --data, such as 0.005 or
    /// 0.5% [default: no limit]
    #[arg(long, help_heading = "Accuracy", value_name = "SHARE")]
    pub(crate) max_loss: Option<Share>,
    /// Measure of the loss [default: accuracy if there are labels, agreement for a classifier, else
    /// cosine]
    #[arg(long, help_heading = "Accuracy", value_enum, value_name = "MEASURE")]
    pub(crate) measure: Option<Measure>,
    /// Compare only this output of the model; may be repeated [default: all]
    #[arg(long, help_heading = "Accuracy", value_name = "OUTPUT")]
    pub(crate) compare_output: Vec<String>,

    /// Write the package even if its outputs differ more than the steps explain. Outputs are always
    /// compared: on the inputs of --calibrate or --data, else on synthetic ones
    #[arg(long, help_heading = "Accuracy")]
    pub(crate) accept_difference: bool,

    /// Name of the model [default: that of its file or folder]
    #[arg(long, help_heading = "Manifest", value_name = "TEXT")]
    pub(crate) name: Option<String>,
    /// Person or team responsible for the model
    #[arg(long, help_heading = "Manifest", value_name = "TEXT")]
    pub(crate) owner: Option<String>,
    /// Licence of the model, if possible as an SPDX identifier such as MIT
    #[arg(long, help_heading = "Manifest", value_name = "TEXT")]
    pub(crate) licence: Option<String>,
    /// Any other information; may be repeated
    #[arg(long, help_heading = "Manifest", value_name = "TEXT")]
    pub(crate) note: Vec<String>,
    /// Another file that the model was made from; its SHA-256 is recorded; may be repeated
    #[arg(long, help_heading = "Manifest", value_name = "FILE")]
    pub(crate) parent: Vec<PathBuf>,
    /// Sign the package with this private key, which `keygen` creates
    #[arg(long, help_heading = "Manifest", value_name = "KEYFILE")]
    pub(crate) sign: Option<PathBuf>,
}

/// First guess of the shared values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Init {
    /// Even steps from the smallest weight to the largest
    Linear,
    /// Dense where most weights are
    Density,
    /// Weights drawn at random
    Forgy,
}

/// Time at which int8 finds ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Int8 {
    /// Ranges from typical inputs, found beforehand; suits convolutions
    Static,
    /// Ranges of each row, found while the model runs; suits transformers
    Dynamic,
}

/// Rule that chooses a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ranges {
    /// From the smallest observed value to the largest
    MinMax,
    /// The middle 99.99 % of the observed values
    Percentile,
    /// The range that keeps most information (least Kullback-Leibler divergence)
    Entropy,
}

/// Formats of half precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Half {
    /// IEEE float16: 11 bits of precision, values up to 65504
    Fp16,
    /// bfloat16: 8 bits of precision, the range of float32
    Bf16,
}

impl Init {
    pub(crate) fn cluster_init(self) -> ClusterInit {
        match self {
            Self::Linear => ClusterInit::Linear,
            Self::Density => ClusterInit::Density,
            Self::Forgy => ClusterInit::Forgy { seed: 0 },
        }
    }
}

impl Ranges {
    pub(crate) fn rule(self) -> RangeRule {
        match self {
            Self::MinMax => RangeRule::MinMax,
            Self::Percentile => RangeRule::PERCENTILE,
            Self::Entropy => RangeRule::Entropy,
        }
    }
}

impl Half {
    pub(crate) fn format(self) -> HalfFormat {
        match self {
            Self::Fp16 => HalfFormat::Float16,
            Self::Bf16 => HalfFormat::BFloat16,
        }
    }
}

impl Options {
    /// Combines flags with the options of a recipe, which flags override. Lists of both are joined.
    pub(crate) fn overriding(mut self, recipe: Self) -> Self {
        self.prune_layer.extend(recipe.prune_layer);
        self.bits_layer.extend(recipe.bits_layer);
        self.compare_output.extend(recipe.compare_output);
        self.note.extend(recipe.note);
        self.parent.extend(recipe.parent);
        Self {
            prune: self.prune.or(recipe.prune),
            threshold: self.threshold.or(recipe.threshold),
            bits: self.bits.or(recipe.bits),
            init: self.init.or(recipe.init),
            int8: self.int8.or(recipe.int8),
            calibrate: self.calibrate.or(recipe.calibrate),
            range_rule: self.range_rule.or(recipe.range_rule),
            smooth: self.smooth || recipe.smooth,
            force: self.force || recipe.force,
            half: self.half.or(recipe.half),
            int4: self.int4 || recipe.int4,
            accept_difference: self.accept_difference || recipe.accept_difference,
            data: self.data.or(recipe.data),
            max_loss: self.max_loss.or(recipe.max_loss),
            measure: self.measure.or(recipe.measure),
            name: self.name.or(recipe.name),
            owner: self.owner.or(recipe.owner),
            licence: self.licence.or(recipe.licence),
            sign: self.sign.or(recipe.sign),
            ..self
        }
    }

    /// Returns true if int8 follows smoothing. Dynamic int8 needs typical inputs for nothing else.
    pub(crate) fn smooths(&self) -> bool {
        self.smooth || (self.int8 == Some(Int8::Dynamic) && self.calibrate.is_some())
    }

    /// Returns a message if options contradict each other. Names of options are in backquotes.
    pub(crate) fn conflict(&self) -> Option<&'static str> {
        let prunes_apart = self.threshold.is_some();
        let shares = self.bits.is_some() || !self.bits_layer.is_empty();
        let calibrates = self.int8 == Some(Int8::Static) || self.smooth;
        let measures = self.int8.is_some() && !self.force;
        let data = self.calibrate.is_some() || self.data.is_some();
        [
            (prunes_apart && self.prune.is_some(), "`prune` and `threshold` exclude each other"),
            (self.int4 && self.int8.is_some(), "`int4` and `int8` exclude each other"),
            (self.init.is_some() && !shares, "`init` needs `bits` or `bits-layer`"),
            (self.smooth && self.int8.is_none(), "`smooth` needs `int8`"),
            (
                self.range_rule.is_some() && self.int8 != Some(Int8::Static),
                "`range-rule` needs `int8` to be static",
            ),
            (
                calibrates && self.calibrate.is_none(),
                "`calibrate` must give typical inputs: static int8 and `smooth` need them",
            ),
            (
                measures && !data,
                "int8 is measured against float32: let `calibrate` or `data` give inputs for that, \
                 or `force` take int8 as it is",
            ),
            (self.max_loss.is_some() && self.data.is_none(), "`max-loss` needs `data`"),
            (self.measure.is_some() && self.data.is_none(), "`measure` needs `data`"),
            (
                !self.compare_output.is_empty() && self.data.is_none(),
                "`compare-output` needs `data`",
            ),
        ]
        .into_iter()
        .find_map(|(wrong, what)| wrong.then_some(what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_override_a_recipe() {
        let flags = Options { bits: Some(4), note: vec!["a".into()], ..Options::default() };
        let recipe = Options {
            bits: Some(8),
            init: Some(Init::Forgy),
            note: vec!["b".into()],
            ..Options::default()
        };
        let both = flags.overriding(recipe);
        assert_eq!((both.bits, both.init), (Some(4), Some(Init::Forgy)));
        assert_eq!(both.note, ["a", "b"]);
        assert_eq!(both.conflict(), None);
    }

    #[test]
    fn contradicting_options_are_errors() {
        let none = Options::default;
        let message = |options: Options| options.conflict().unwrap();
        assert!(message(Options { init: Some(Init::Linear), ..none() }).contains("needs `bits`"));
        assert!(message(Options { max_loss: Some(Share(0.1)), ..none() }).contains("`data`"));
        let int8 = || Options { int8: Some(Int8::Static), ..none() };
        assert!(message(int8()).contains("`calibrate` must give"));
        assert!(message(Options { int4: true, ..int8() }).contains("exclude"));
        let dynamic = Options { int8: Some(Int8::Dynamic), ..none() };
        assert!(message(dynamic.clone()).contains("`force`"));
        assert_eq!(Options { force: true, ..dynamic }.conflict(), None);
    }
}
