//! Quantization: int8 for weights and activations, int4 and half precision for storage alone.
//!
//! Each step writes operators that ONNX Runtime joins into its integer kernels when it loads the
//! model. They are ONNX's own, so that the model runs anywhere, except for int4.

use crate::CompressError;
use serde::Serialize;
use skysail_graph::Model;

pub use affine::Affine;
pub use dynamic::{DynamicSettings, quantize_dynamic};
pub use fold::fold_batch_norms;
pub use half_storage::{HalfFormat, HalfSettings, store_half};
pub use int4::{Int4Settings, Int4Weights, quantize_int4};
pub use int8::{Granularity, Int8Weights};
pub use smooth::{SmoothReport, SmoothSettings, SmoothedValue, smooth};
pub use static_int8::{StaticSettings, quantize_static};
pub use tables::quantize_tables;

mod affine;
mod operand;
mod int8;
mod rewrite;
mod product;
mod fold;
mod smooth;
mod row_codes;
mod dynamic;
mod tables;
mod static_int8;
mod int4;
mod half_storage;

/// Result of quantization.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct QuantizeReport {
    /// Tensors that were quantized.
    pub tensors: Vec<QuantizedTensor>,
    /// Selected layers that could not be quantized.
    pub kept: Vec<KeptLayer>,
}

/// A quantized tensor.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct QuantizedTensor {
    /// Name of the tensor, the same as that of its layer.
    pub name: String,
    /// Name of the tensor that is stored instead; often the same.
    pub stored: String,
    /// Bits of a code.
    pub bits: u8,
    /// Number of scales.
    pub scales: usize,
    /// Description of the codes.
    pub codes: &'static str,
    /// Mean squared difference between the values and the stored values.
    pub mean_squared_error: f64,
}

/// A layer that is left unchanged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KeptLayer {
    /// Name of the layer.
    pub name: String,
    /// Reason, as text.
    pub reason: String,
}

/// First version of ONNX's operators in which `DequantizeLinear` has channels.
const PER_CHANNEL_OPSET: i64 = 13;

/// Checks that the model uses ONNX's operators in this version or a later one.
fn require_opset(model: &Model, needed: i64) -> Result<(), CompressError> {
    let found = model.opset("").unwrap_or(1);
    if found < needed {
        return Err(CompressError::OldOperators { found, needed });
    }
    Ok(())
}

/// Returns the reason to keep a layer with weights of this magnitude.
fn too_small_for(format: &str, size: f32) -> String {
    format!(
        "its weights are too small for {format}, {size:e} at most in one of its outputs: they would \
         become zero, so they stay in float32"
    )
}
