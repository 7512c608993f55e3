//! Fewer bits a number: int8 for weights and for what they are multiplied with, int4 and half
//! precision for storage alone.
//!
//! Each step writes operators that ONNX Runtime joins into its integer kernels when it loads the
//! model. Those are ONNX's own, so that the model runs anywhere, except for int4.

use crate::CompressError;
use serde::Serialize;
use skysail_graph::Model;

pub use affine::Affine;
pub use dynamic::{DynamicSettings, quantize_dynamic};
pub use fold::fold_batch_norms;
pub use fuse::{Int8Operator, Int8Product, fuse_int8};
pub use half_storage::{HalfFormat, HalfSettings, store_half};
pub use int4::{Int4Settings, Int4Weights, quantize_int4};
pub use int8::{Granularity, Int8Weights};
pub use smooth::{SmoothReport, SmoothSettings, SmoothedValue, smooth};
pub use static_int8::{StaticSettings, quantize_static};
pub use tables::quantize_tables;

mod affine;
mod operand;
mod int8;
mod draft;
mod product;
mod fold;
mod smooth;
mod row_codes;
mod dynamic;
mod tables;
mod static_int8;
mod int4;
mod half_storage;
mod fuse;

/// What was quantized, and what was not.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct QuantizeReport {
    /// The tensors that were.
    pub tensors: Vec<QuantizedTensor>,
    /// The layers that were to be, and could not.
    pub kept: Vec<KeptLayer>,
}

/// A tensor that has fewer bits now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QuantizedTensor {
    /// The tensor's name, that of its layer.
    pub name: String,
    /// The name of what is stored in its place; often the same.
    pub stored: String,
    /// Bits of a number.
    pub bits: u8,
    /// How many scales there are.
    pub scales: usize,
    /// What the codes are, in words.
    pub codes: &'static str,
    /// The mean of the squared differences between the numbers and what is stored.
    pub mean_squared_error: f64,
}

/// A layer that stays as it was.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KeptLayer {
    /// Its name.
    pub name: String,
    /// Why, in words.
    pub reason: String,
}

/// The version of ONNX's operators since which `DequantizeLinear` knows channels.
const PER_CHANNEL_OPSET: i64 = 13;

/// Checks that the model uses ONNX's operators in this version or a later one.
fn require_opset(model: &Model, needed: i64) -> Result<(), CompressError> {
    let found = model.opset("").unwrap_or(1);
    if found < needed {
        return Err(CompressError::OldOperators { found, needed });
    }
    Ok(())
}

/// Why a layer with weights of this size stays as it is.
fn too_small_for(format: &str, size: f32) -> String {
    format!(
        "its weights are too small for {format}, {size:e} at most in one of its outputs: they would \
         become zero, so they stay in float32"
    )
}
