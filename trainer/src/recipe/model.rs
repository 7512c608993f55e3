//! The model of a recipe.

use serde::{Deserialize, Serialize};
use skysail_graph::{
    GraphError, Model, ResNetSettings, TransformerSettings, fed_avg_cnn, lenet_5, lenet_300_100,
    mlp, resnet, transformer_encoder, two_nn,
};
use std::path::{Path, PathBuf};

/// The model to train.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelRecipe {
    /// Perceptron 784-300-100-10 of LeCun et al. (1998).
    #[serde(rename = "lenet-300-100")]
    LeNet300100,
    /// LeNet-5 in the variant of Caffe, which Deep Compression uses.
    #[serde(rename = "lenet-5")]
    LeNet5,
    /// Perceptron 784-200-200-10 of McMahan et al. (2017).
    #[serde(rename = "2nn")]
    TwoNn,
    /// Convolutional network of McMahan et al. (2017).
    Cnn,
    /// Perceptron of these widths, from the input to the output.
    Mlp(Vec<u64>),
    /// Residual network for small images (He et al. 2016).
    #[serde(rename = "resnet")]
    ResNet(ResNetRecipe),
    /// Encoder of texts (Vaswani et al. 2017).
    Transformer(TransformerRecipe),
    /// ONNX file, whose weights are the initial ones.
    File(PathBuf),
}

/// Settings of a residual network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ResNetRecipe {
    /// Channels of an image.
    pub channels: u64,
    /// Blocks of each of three stages; 3 is ResNet-20.
    pub blocks: u64,
    /// Channels of the first stage.
    pub width: u64,
    /// Number of classes.
    pub classes: u64,
}

/// Settings of an encoder of texts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TransformerRecipe {
    /// Number of different tokens.
    pub vocabulary: u64,
    /// Tokens of a text.
    pub length: u64,
    /// Width of an embedding.
    pub width: u64,
    /// Number of attention heads, which share the width.
    pub heads: u64,
    /// Hidden neurons of a layer's feed-forward part.
    pub hidden: u64,
    /// Number of layers.
    pub layers: u64,
    /// Number of classes.
    pub classes: u64,
}

impl TransformerRecipe {
    fn settings(&self) -> TransformerSettings {
        let Self { vocabulary, length, width, heads, hidden, layers, classes } = *self;
        TransformerSettings { vocabulary, length, width, heads, hidden, layers, classes }
    }
}

impl ModelRecipe {
    /// Builds the model with weights from `seed`, or loads it; paths are relative to `folder`.
    ///
    /// # Errors
    /// Fails when a file cannot be used, or widths are impossible.
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
