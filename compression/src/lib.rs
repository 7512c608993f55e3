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
//!    such an operator. [`widen_int8`] turns int8 into floats, for machines on which it is slower.
//!
//! `FORMAT.md` describes the file. The program `skysail-pack` (feature `pack`) offers all of this
//! on the command line. Without the feature `compress`, the crate reads, writes and checks packages.

// Finding weights.
#[cfg(feature = "compress")]
mod layers;
#[cfg(feature = "compress")]
mod per_layer;
mod suggest;
// Changing them.
#[cfg(feature = "compress")]
mod mask;
#[cfg(feature = "compress")]
mod prune;
#[cfg(feature = "compress")]
mod cluster;
#[cfg(feature = "compress")]
mod calibrate;
#[cfg(feature = "compress")]
mod quantize;
// What that costs.
#[cfg(feature = "compress")]
mod evaluate;
// Storing them.
mod protobuf;
mod sparse;
mod codec;
mod package;
mod error;
// Serving them.
mod fuse;
mod widen;
// Reading typical inputs.
#[cfg(feature = "compress")]
pub mod npy;

#[cfg(feature = "compress")]
pub use calibrate::{
    Batch, Calibration, ChannelMagnitudes, Histogram, Range, RangeRule, Run, Runner,
    bytes_with_outputs,
};
#[cfg(feature = "compress")]
pub use cluster::{
    ClusterInit, ClusterReport, ClusterSettings, ClusteredLayer, Codebook, SharedLayer, cluster,
    share_values,
};
pub use codec::{Codec, cursor::CodecError};
pub use error::{CompressError, RunnerError};
#[cfg(feature = "compress")]
pub use evaluate::{Difference, accuracy, agreement, cosine, difference, top_1};
pub use fuse::{Int8Operator, Int8Product, fuse_int8};
#[cfg(feature = "compress")]
pub use layers::{Layer, LayerKind, layers};
#[cfg(feature = "compress")]
pub use mask::Mask;
pub use package::{
    Accuracy, Bits, Manifest, Package, PackageError, PackageWriter, Parent, PublicKey, Seal,
    Signer, Statistics, Step, Summary, TensorEntry, WEIGHTS_ELSEWHERE, decoded_max,
};
#[cfg(feature = "compress")]
pub use per_layer::PerLayer;
#[cfg(feature = "compress")]
pub use prune::{LayerMask, PruneReport, PruneRule, PruneSettings, PrunedLayer, masks, prune};
#[cfg(feature = "compress")]
pub use quantize::{
    Affine, DynamicSettings, Granularity, HalfFormat, HalfSettings, Int4Settings, Int4Weights,
    Int8Weights, KeptLayer, QuantizeReport, QuantizedTensor, SmoothReport, SmoothSettings,
    SmoothedValue, StaticSettings, fold_batch_norms, quantize_dynamic, quantize_int4,
    quantize_static, quantize_tables, smooth, store_half,
};
pub use sparse::{Sparse, SparseError};
pub use suggest::nearest;
pub use widen::widen_int8;
