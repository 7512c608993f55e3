//! What `pack` is asked to do: by flags, by a recipe, or by both.

use crate::args::{Named, Share, threshold};
use crate::compare::Measure;
use crate::recipe::by_layer;
use clap::{Args, ValueEnum};
use serde::Deserialize;
use skysail_compression::{HalfFormat, RangeRule, Start};
use std::path::PathBuf;

/// All of it. In a recipe, the same words are keys.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Options {
    /// Keep this share of all weights, the largest of the whole model: 0.3 or 30%
    #[arg(long, help_heading = "Prune", value_name = "DENSITY")]
    pub(crate) prune: Option<Share>,
    /// Keep this share of one layer's weights; may be repeated
    #[arg(long, help_heading = "Prune", value_name = "NAME=DENSITY")]
    #[serde(deserialize_with = "by_layer")]
    pub(crate) prune_layer: Vec<Named<Share>>,
    /// Keep the weights that are this large
    #[arg(long, help_heading = "Prune", value_name = "SIZE", value_parser = threshold)]
    pub(crate) threshold: Option<f32>,

    /// Let the weights of a layer share 2^BITS values: 1 to 16
    #[arg(long, help_heading = "Share weights", value_name = "BITS")]
    pub(crate) bits: Option<u8>,
    /// The same for one layer; may be repeated
    #[arg(long, help_heading = "Share weights", value_name = "NAME=BITS")]
    #[serde(deserialize_with = "by_layer")]
    pub(crate) bits_layer: Vec<Named<u8>>,
    /// Where the shared values start from [default: linear]
    #[arg(long, help_heading = "Share weights", value_enum, value_name = "HOW")]
    pub(crate) init: Option<Init>,

    /// Multiply integers, by ranges found beforehand (static) or while it runs (dynamic). It is
    /// measured whether that is faster here, and if not, float32 stays
    #[arg(long, help_heading = "Fewer bits", value_enum, value_name = "HOW")]
    pub(crate) int8: Option<Int8>,
    /// Typical inputs, for static ranges, for smoothing and for that measurement: an .npz file or
    /// a folder, as for --data
    #[arg(long, help_heading = "Fewer bits", value_name = "FILE_OR_FOLDER")]
    pub(crate) calibrate: Option<PathBuf>,
    /// How ranges are chosen [default: min-max]
    #[arg(long, help_heading = "Fewer bits", value_enum, value_name = "HOW")]
    pub(crate) calibration: Option<Ranges>,
    /// Before int8, move what some channels have too much of into the weights: for transformers.
    /// Dynamic int8 with --calibrate always does
    #[arg(long, help_heading = "Fewer bits")]
    pub(crate) smooth: bool,
    /// Take int8 even if float32 is faster
    #[arg(long, help_heading = "Fewer bits")]
    pub(crate) force: bool,
    /// Store matrices that are left in half precision
    #[arg(long, help_heading = "Fewer bits", value_enum, value_name = "FORMAT")]
    pub(crate) half: Option<Half>,
    /// Store matrices as int4: runs in ONNX Runtime alone
    #[arg(long, help_heading = "Fewer bits")]
    pub(crate) int4: bool,

    /// Data to compare the model on before and after: an .npz file with arrays named as the
    /// model's inputs, and `labels` if there are any; or a folder of input_0.npy, input_1.npy...,
    /// or of test_data_set_0, test_data_set_1... of such
    #[arg(long, help_heading = "Accuracy", value_name = "FILE_OR_FOLDER")]
    pub(crate) data: Option<PathBuf>,
    /// Write nothing if more than this is lost: 0.005 or 0.5%
    #[arg(long, help_heading = "Accuracy", value_name = "SHARE")]
    pub(crate) max_loss: Option<Share>,
    /// What is lost [default: accuracy with labels, agreement for a classifier, else cosine]
    #[arg(long, help_heading = "Accuracy", value_enum, value_name = "WHAT")]
    pub(crate) measure: Option<Measure>,
    /// The output that counts; may be repeated [default: all]
    #[arg(long, help_heading = "Accuracy", value_name = "OUTPUT")]
    pub(crate) of: Vec<String>,

    /// Write the package even if its outputs differ by more than the steps explain. They are always
    /// compared, on what --calibrate or --data gives, else on made-up inputs
    #[arg(long, help_heading = "Accuracy")]
    pub(crate) accept_difference: bool,

    /// The model's name [default: that of its file or folder]
    #[arg(long, help_heading = "Manifest", value_name = "TEXT")]
    pub(crate) name: Option<String>,
    /// Who answers for the model
    #[arg(long, help_heading = "Manifest", value_name = "TEXT")]
    pub(crate) owner: Option<String>,
    /// Its licence, if possible as an SPDX identifier
    #[arg(long, help_heading = "Manifest", value_name = "TEXT")]
    pub(crate) licence: Option<String>,
    /// Anything else to say; may be repeated
    #[arg(long, help_heading = "Manifest", value_name = "TEXT")]
    pub(crate) note: Vec<String>,
    /// A file that the model was made from, beside itself; may be repeated
    #[arg(long, help_heading = "Manifest", value_name = "FILE")]
    pub(crate) parent: Vec<PathBuf>,
    /// Sign the package with this private key, which `keygen` makes
    #[arg(long, help_heading = "Manifest", value_name = "KEYFILE")]
    pub(crate) sign: Option<PathBuf>,
}

/// Where shared values start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Init {
    /// Evenly from the smallest weight to the largest
    Linear,
    /// Where most weights are
    Density,
    /// At weights drawn at random
    Forgy,
}

/// How int8 finds ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Int8 {
    /// Beforehand, on typical inputs: for convolutions
    Static,
    /// While the model runs: for transformers
    Dynamic,
}

/// How a range is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ranges {
    /// From the smallest value to the largest
    MinMax,
    /// 99.99 % of the values
    Percentile,
    /// The range whose codes tell the most
    Entropy,
}

/// The two halves of a float.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Half {
    /// More digits, nothing above 65504
    Fp16,
    /// Fewer digits, the range of float32
    Bf16,
}

impl Init {
    pub(crate) fn start(self) -> Start {
        match self {
            Self::Linear => Start::Linear,
            Self::Density => Start::Density,
            Self::Forgy => Start::Forgy { seed: 0 },
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
    /// These, and those of a recipe where nothing else is said.
    pub(crate) fn over(mut self, recipe: Self) -> Self {
        self.prune_layer.extend(recipe.prune_layer);
        self.bits_layer.extend(recipe.bits_layer);
        self.of.extend(recipe.of);
        self.note.extend(recipe.note);
        self.parent.extend(recipe.parent);
        Self {
            prune: self.prune.or(recipe.prune),
            threshold: self.threshold.or(recipe.threshold),
            bits: self.bits.or(recipe.bits),
            init: self.init.or(recipe.init),
            int8: self.int8.or(recipe.int8),
            calibrate: self.calibrate.or(recipe.calibrate),
            calibration: self.calibration.or(recipe.calibration),
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

    /// Whether int8 comes after smoothing. Dynamic int8 has no other use for typical inputs.
    pub(crate) fn smooths(&self) -> bool {
        self.smooth || (self.int8 == Some(Int8::Dynamic) && self.calibrate.is_some())
    }

    /// What can not be asked for together. Names of options are in backquotes.
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
                self.calibration.is_some() && self.int8 != Some(Int8::Static),
                "`calibration` needs `int8` to be static",
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
            (!self.of.is_empty() && self.data.is_none(), "`of` needs `data`"),
        ]
        .into_iter()
        .find_map(|(wrong, what)| wrong.then_some(what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_go_before_a_recipe() {
        let flags = Options { bits: Some(4), note: vec!["a".into()], ..Options::default() };
        let recipe = Options {
            bits: Some(8),
            init: Some(Init::Forgy),
            note: vec!["b".into()],
            ..Options::default()
        };
        let both = flags.over(recipe);
        assert_eq!((both.bits, both.init), (Some(4), Some(Init::Forgy)));
        assert_eq!(both.note, ["a", "b"]);
        assert_eq!(both.conflict(), None);
    }

    #[test]
    fn what_excludes_or_needs_another_is_told() {
        let none = Options::default;
        let said = |options: Options| options.conflict().unwrap();
        assert!(said(Options { init: Some(Init::Linear), ..none() }).contains("needs `bits`"));
        assert!(said(Options { max_loss: Some(Share(0.1)), ..none() }).contains("`data`"));
        let int8 = || Options { int8: Some(Int8::Static), ..none() };
        assert!(said(int8()).contains("`calibrate` must give"));
        assert!(said(Options { int4: true, ..int8() }).contains("exclude"));
        let dynamic = Options { int8: Some(Int8::Dynamic), ..none() };
        assert!(said(dynamic.clone()).contains("`force`"));
        assert_eq!(Options { force: true, ..dynamic }.conflict(), None);
    }
}
