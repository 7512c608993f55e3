//! Complete models of common kinds, for training, tests and benchmarks. The number of rows is
//! dynamic. The same seed gives the same weights on every machine.

mod layers;
mod mlp;
mod lenet;
mod resnet;
mod transformer;

pub use lenet::{fed_avg_cnn, lenet_5};
pub use mlp::{lenet_300_100, mlp, two_nn};
pub use resnet::{ResNetSettings, resnet};
pub use transformer::{TransformerSettings, transformer_encoder};
