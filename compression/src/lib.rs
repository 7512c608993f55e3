//! Compressed models and the package that holds them.
//!
//! A model's way into a package, and the modules on it:
//!
//! 1. [`layers()`] finds the weights that can be compressed; [`PerLayer`] has settings for them.
//! 2. Lossy steps change the model, each if it is asked for: [`prune()`] makes small weights zero,
//!    [`cluster()`] lets weights share values (Han, Mao and Dally, "Deep Compression", ICLR 2016),
//!    and the quantizers take fewer bits a number: [`quantize_static`], [`quantize_dynamic`],
//!    [`quantize_int4`], [`store_half`]. Those that need typical activations get them from a
//!    [`Calibration`], which runs the model by a [`Runner`] of the caller's.
//! 3. [`difference`], [`agreement`] and [`accuracy`] tell what was lost.
//! 4. [`PackageWriter`] writes a package, which loses nothing: for each tensor it tries every
//!    [`Codec`] that suits its bits and takes the smallest.
//! 5. [`Package`] reads one, whoever made it. A tensor comes back dense, or as [`Sparse`] without
//!    having been dense, or all of them with the graph as the model that was packed.
//!
//! 6. [`fuse_int8`] puts one operator in the place of the many by which [`quantize_dynamic`] makes
//!    bytes of rows, for whoever has such an operator.
//!
//! `FORMAT.md` describes the file. The program `skysail-pack` (feature `pack`) is all of this on
//! the command line.

// Finding weights.
mod layers;
mod per_layer;
mod near;
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
    Int8Operator, Int8Product, Int8Weights, KeptLayer, QuantizeReport, QuantizedTensor,
    SmoothReport, SmoothSettings, SmoothedValue, StaticSettings, fold_batch_norms, fuse_int8,
    quantize_dynamic, quantize_int4, quantize_static, quantize_tables, smooth, store_half,
};
pub use sparse::{Sparse, SparseError};
