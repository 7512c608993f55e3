//! What is trained, as a recipe says it.

use serde::{Deserialize, Serialize};
use skysail_graph::{
    GraphError, Model, ResNetSettings, TransformerSettings, fed_avg_cnn, lenet_5, lenet_300_100,
    mlp, resnet, transformer_encoder, two_nn,
};
use std::path::{Path, PathBuf};

/// What is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelRecipe {
    /// The perceptron of LeCun et al. (1998), 784-300-100-10.
    #[serde(rename = "lenet-300-100")]
    LeNet300100,
    /// LeNet-5, as Caffe has it and Deep Compression starts from.
    #[serde(rename = "lenet-5")]
    LeNet5,
    /// The perceptron of McMahan et al. (2017), 784-200-200-10.
    #[serde(rename = "2nn")]
    TwoNn,
    /// The convolutional network of McMahan et al. (2017).
    Cnn,
    /// A perceptron of these widths, from the input to the output.
    Mlp(Vec<u64>),
    /// A residual network for small images (He et al. 2016).
    #[serde(rename = "resnet")]
    ResNet(ResNetRecipe),
    /// An encoder of texts (Vaswani et al. 2017).
    Transformer(TransformerRecipe),
    /// An ONNX file, whose weights training begins with.
    File(PathBuf),
}

/// A residual network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ResNetRecipe {
    /// Channels of an image.
    pub channels: u64,
    /// Blocks of each of three stages: 3 make ResNet-20.
    pub blocks: u64,
    /// Channels of the first stage.
    pub width: u64,
    /// Classes to tell apart.
    pub classes: u64,
}

/// An encoder of texts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TransformerRecipe {
    /// Tokens that there are.
    pub vocabulary: u64,
    /// Tokens of a text.
    pub length: u64,
    /// Numbers that stand for a token.
    pub width: u64,
    /// Heads of attention; they share the width.
    pub heads: u64,
    /// Neurons between the two products of a layer.
    pub hidden: u64,
    /// Layers.
    pub layers: u64,
    /// Classes to tell apart.
    pub classes: u64,
}

impl TransformerRecipe {
    fn settings(&self) -> TransformerSettings {
        let Self { vocabulary, length, width, heads, hidden, layers, classes } = *self;
        TransformerSettings { vocabulary, length, width, heads, hidden, layers, classes }
    }
}

impl ModelRecipe {
    /// The model, its weights from the seed; files are looked for in `folder`.
    ///
    /// # Errors
    /// When a file can not be used, or widths are impossible.
    pub fn model(&self, folder: &Path, seed: u64) -> Result<Model, GraphError> {
        match self {
            Self::LeNet300100 => lenet_300_100(seed),
            Self::LeNet5 => lenet_5(seed),
            Self::TwoNn => two_nn(seed),
            Self::Cnn => fed_avg_cnn(seed),
            Self::Mlp(widths) => mlp(widths, seed),
            Self::ResNet(ResNetRecipe { channels, blocks, width, classes }) => {
                let settings = ResNetSettings {
                    channels: *channels,
                    blocks: *blocks,
                    width: *width,
                    classes: *classes,
                };
                resnet(settings, seed)
            }
            Self::Transformer(recipe) => transformer_encoder(recipe.settings(), seed),
            Self::File(path) => {
                let mut model = Model::load(folder.join(path))?;
                model.inline_external_data()?;
                Ok(model)
            }
        }
    }
}
