//! Operators of ONNX Runtime, which its optimizer and tools write.

use super::dependence::dependent;
use super::rule::{Outcome, Rule};
use super::{
    Dependence, attention, axes, batched, elementwise, layout, matrix, parts, recurrent, strings,
};
use crate::Dim;
use crate::shapes::call::Call;

pub(super) fn rule(operator: &str) -> Option<Rule> {
    Some(match operator {
        "Gelu" | "QuickGelu" | "QLinearSigmoid" | "QLinearLeakyRelu" | "MurmurHash3" => {
            elementwise::pointwise
        }
        "BiasGelu" | "FastGelu" => elementwise::broadcast_two,
        "BiasAdd" | "MulInteger" => elementwise::broadcast,
        "QLinearAdd" | "QLinearMul" => elementwise::broadcast_quantized,
        "QLinearWhere" => where_quantized,
        "QuantizeLinear" | "DequantizeLinear" => elementwise::quantize,
        "DynamicQuantizeMatMul" => elementwise::quantize_whole,
        "DynamicQuantizeLSTM" => recurrent::dynamic_quantized,
        "QLinearReduceMean" => reduce_mean_quantized,
        "QLinearSoftmax" => softmax_quantized,
        "QLinearConcat" => parts::concat_quantized,
        "BiasSplitGelu" => axes::last,
        "Inverse" | "Trilu" => axes::last_two,
        "SkipLayerNormalization" | "SkipSimplifiedLayerNormalization" => axes::skip_normalise,
        "LayerNormalization" | "SimplifiedLayerNormalization" => axes::from_axis,
        "QLinearConv"
        | "QLinearAveragePool"
        | "QLinearGlobalAveragePool"
        | "NhwcMaxPool"
        | "NhwcConv"
        | "GroupNorm"
        | "ConvTransposeWithDynamicPads" => batched::batch_first,
        "FusedConv" | "NhwcFusedConv" => conv_and_sum,
        "GridSample" => batched::grid_sample,
        "FusedMatMul" | "TransposeMatMul" => matrix::matmul_fused,
        "MatMulInteger16" | "MatMulIntegerToFloat" => matrix::matmul,
        "FusedGemm" => matrix::gemm,
        "GemmFastGelu" => matrix::matmul,
        "QGemm" => gemm_quantized,
        "MatMulNBits" | "MatMulBnb4" | "MatMulFpQ4" => matrix::packed_weight,
        "CDist" => distances,
        "GatherBlockQuantized" => gather_quantized,
        "Pad" => parts::pad,
        "NhwcResize" => layout::resize,
        "Attention" => attention::with_weights,
        "QAttention" => attention::quantized,
        "MultiHeadAttention" => attention::multi_head,
        "GroupQueryAttention" => attention::group_query,
        "RotaryEmbedding" => attention::rotary,
        "EmbedLayerNormalization" => attention::embed,
        "Tokenizer" => strings::split,
        _ => return None,
    })
}

/// Operators over blocks of channels, which the optimizer writes for a processor.
pub(super) fn blocked(operator: &str) -> Option<Rule> {
    Some(match operator {
        "Conv" => conv_and_sum,
        "MaxPool" | "GlobalMaxPool" | "AveragePool" | "GlobalAveragePool" | "ReorderInput"
        | "ReorderOutput" => batched::batch_first,
        _ => return None,
    })
}

/// A condition, and two quantized tensors with their scales and zero points.
fn where_quantized(call: &Call<'_, '_>) -> Outcome {
    call.shared_besides(&[0, 1, 4])?;
    Ok(vec![elementwise::broadcast_inputs(call, &[0, 1, 4])?])
}

/// Axes are an attribute; inputs after the first are scales and zero points.
fn reduce_mean_quantized(call: &Call<'_, '_>) -> Outcome {
    call.shared_besides(&[0])?;
    let rank = call.rank(0)?;
    let explicit = call.ints("axes").unwrap_or_default();
    let axes: Vec<Option<usize>> =
        explicit.iter().map(|axis| crate::shapes::dims::axis(*axis, rank)).collect();
    let rows = axes::rows_outside(call, "reduces over", |rows| {
        axes.is_empty() || axes.contains(&Some(rows)) || axes.contains(&None)
    })?;
    let keeps = call.int("keepdims").unwrap_or(1) != 0;
    let before = axes.iter().flatten().filter(|axis| **axis < rows.axis).count();
    Ok(vec![rows.at(if keeps { rows.axis } else { rows.axis - before })])
}

/// Along one axis or all from it on, by an attribute.
fn softmax_quantized(call: &Call<'_, '_>) -> Outcome {
    call.shared_besides(&[0])?;
    let axis = call.need_axis(-1, call.rank(0)?)?;
    let rows = axes::rows_outside(call, "normalises over", |rows| rows >= axis)?;
    Ok(vec![Dependence::Rows(rows)])
}

/// A convolution plus another tensor.
fn conv_and_sum(call: &Call<'_, '_>) -> Outcome {
    if call.has_input(3) && call.rows(3).is_none() {
        return dependent("it adds a fixed number of rows");
    }
    batched::batched_inputs(call, &[0, 3])
}

/// Rows of the first matrix; all else is shared.
fn gemm_quantized(call: &Call<'_, '_>) -> Outcome {
    call.shared_besides(&[0])?;
    let transposed = usize::from(call.int("transA").unwrap_or(0) != 0);
    if let (true, Some([rows, _])) = (call.has_input(6), call.dims(6))
        && *rows != Dim::Fixed(1)
    {
        return dependent("it adds a fixed number of rows");
    }
    let rows = axes::rows_outside(call, "sums over", |rows| rows != transposed)?;
    Ok(vec![rows.at(0)])
}

/// Distances of a matrix's rows from those of another.
fn distances(call: &Call<'_, '_>) -> Outcome {
    call.shared_besides(&[0])?;
    let rows = axes::rows_outside(call, "sums over", |rows| rows != 0)?;
    Ok(vec![Dependence::Rows(rows)])
}

/// Entries of a table that is stored in few bits.
fn gather_quantized(call: &Call<'_, '_>) -> Outcome {
    call.shared_besides(&[1])?;
    let places = call.need_rows(1)?;
    match call.int("gather_axis").unwrap_or(0) {
        0 => Ok(vec![Dependence::Rows(places.clone())]),
        _ => dependent("it selects along another axis than the first"),
    }
}
