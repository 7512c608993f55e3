//! Compressed models and the package that holds them.
//!
//! A model becomes a package in these steps, each with its modules:
//!
//! 1. [`layers()`] finds the weights that can be compressed. [`PerLayer`] holds their settings.
//! 2. Lossy steps change the model, if the caller asks for them. [`prune()`] sets small weights to
//!    zero. [`cluster()`] lets weights share values (Han, Mao and Dally, "Deep Compression", ICLR
//!    2016). The quantizers use fewer bits a number: [`quantize_static`], [`quantize_dynamic`],
//!    [`quantize_int4`], [`store_half`]. A [`Calibration`] finds typical activations for them, by
//!    running the model with a [`Runner`] of the caller.
//! 3. [`difference`], [`agreement`] and [`accuracy`] measure the loss.
//! 4. [`PackageWriter`] writes a package without further loss. It tries every [`Codec`] that suits
//!    a tensor's bits and uses the smallest.
//! 5. [`Package`] reads a package, even a hostile one. A tensor is decoded dense, or as [`Sparse`]
//!    without its zeros; all tensors and the graph are decoded to the original model.
//! 6. [`fuse_int8`] joins the operators of [`quantize_dynamic`] into one, for runtimes that have
//!    such an operator.
//!
//! `FORMAT.md` describes the file. The program `skysail-pack` (feature `pack`) offers all of this
//! on the command line.

// Finding weights.
mod layers;
mod per_layer;
mod suggest;
// Changing them.
mod mask;
mod prune;
mod cluster;
mod calibrate;
mod quantize;
// What that costs.
mod evaluate;
// Storing them.
mod protobuf;
mod sparse;
mod codec;
mod package;
mod error;
// Reading typical inputs.
pub mod npy;

pub use calibrate::{
    Batch, Calibration, ChannelMagnitudes, Histogram, Range, RangeRule, Run, Runner,
    bytes_with_outputs,
};
pub use cluster::{
    ClusterInit, ClusterReport, ClusterSettings, ClusteredLayer, Codebook, SharedLayer, cluster,
    share_values,
};
pub use codec::{Codec, cursor::CodecError};
pub use error::{CompressError, RunnerError};
pub use evaluate::{Difference, accuracy, agreement, cosine, difference, top_1};
pub use layers::{Layer, LayerKind, layers};
pub use mask::Mask;
pub use package::{
    Accuracy, Bits, Manifest, Package, PackageError, PackageWriter, Parent, PublicKey, Seal,
    Signer, Statistics, Step, Summary, TensorEntry, WEIGHTS_ELSEWHERE, decoded_max,
};
pub use per_layer::PerLayer;
pub use prune::{LayerMask, PruneReport, PruneRule, PruneSettings, PrunedLayer, masks, prune};
pub use quantize::{
    Affine, DynamicSettings, Granularity, HalfFormat, HalfSettings, Int4Settings, Int4Weights,
    Int8Operator, Int8Product, Int8Weights, KeptLayer, QuantizeReport, QuantizedTensor,
    SmoothReport, SmoothSettings, SmoothedValue, StaticSettings, fold_batch_norms, fuse_int8,
    quantize_dynamic, quantize_int4, quantize_static, quantize_tables, smooth, store_half,
};
pub use sparse::{Sparse, SparseError};
pub use suggest::nearest;
