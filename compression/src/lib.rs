//! Compressed models and their package.
//!
//! Lossy steps change the initializers of a model: [`prune`] makes small weights zero, and
//! [`cluster`] lets weights share values. They run nothing.

mod layers;
mod per_layer;
mod near;
mod mask;
mod prune;
mod cluster;
mod quantize;
mod calibrate;
mod evaluate;
mod sparse;
mod codec;
mod package;
mod error;

pub use calibrate::{
    Batch, Calibration, ChannelSizes, Histogram, Range, RangeRule, Run, Runner, bytes_with_outputs,
};
pub use cluster::{
    ClusterReport, ClusterSettings, ClusteredLayer, Codebook, SharedLayer, Start, cluster, share,
};
pub use codec::{Codec, cursor::CodecError};
pub use error::{CompressError, RunnerError};
pub use evaluate::{Difference, accuracy, agreement, cosine, difference, top_1};
pub use layers::{Layer, LayerKind, layers};
pub use mask::Mask;
pub use near::nearest;
pub use package::{
    Accuracy, Bits, Manifest, Package, PackageError, PackageWriter, Parent, PublicKey, Seal,
    Signer, Statistics, Step, Summary, TensorEntry, WEIGHTS_ELSEWHERE, decoded_max,
};
pub use per_layer::PerLayer;
pub use prune::{LayerMask, PruneReport, PruneRule, PruneSettings, PrunedLayer, masks, prune};
pub use quantize::{
    Affine, DynamicSettings, Granularity, HalfFormat, HalfSettings, Int4Settings, Int4Weights,
    Int8Weights, KeptLayer, QuantizeReport, QuantizedTensor, SmoothReport, SmoothSettings,
    SmoothedValue, StaticSettings, fold_batch_norms, quantize_dynamic, quantize_int4,
    quantize_static, quantize_tables, smooth, store_half,
};
pub use sparse::{Sparse, SparseError};
