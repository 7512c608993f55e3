//! Convolutions and pooling: a window slides over all dimensions but the first two.

use super::call::{Call, Inferred};
use super::value::{ANY, Value};
use super::{dims, rank_only};
use crate::{Dim, ElementType};

pub(super) fn conv(call: &Call<'_, '_>) -> Inferred {
    convolution(call, 1, call.element(0))
}

pub(super) fn conv_integer(call: &Call<'_, '_>) -> Inferred {
    convolution(call, 1, ElementType::Int32)
}

/// Inputs: x with scale and zero point, weights with theirs, and those of the output.
pub(super) fn conv_quantized(call: &Call<'_, '_>) -> Inferred {
    let explicit = call.element(7);
    convolution(call, 3, if explicit == ANY { call.element(0) } else { explicit })
}

fn convolution(call: &Call<'_, '_>, weights: usize, element: ElementType) -> Inferred {
    let weights = call.dims(weights);
    let channels = weights.and_then(<[Dim]>::first).cloned().unwrap_or(Dim::Unknown);
    let kernels = kernels(call, weights);
    Some(vec![Value::tensor(element, window_dims(call, kernels, Some(channels)))])
}

/// The window covers whole dimensions: all but the first two shrink to one.
pub(super) fn global_pool(call: &Call<'_, '_>) -> Inferred {
    if has_channels_last(call) {
        return rank_only::same_rank(call);
    }
    let shrunk = |dims: &[Dim]| -> Vec<Dim> {
        let one = |(index, dim): (usize, &Dim)| if index < 2 { dim.clone() } else { 1.into() };
        dims.iter().enumerate().map(one).collect()
    };
    Some(vec![Value::tensor(call.element(0), call.dims(0).map(shrunk))])
}

/// The maximum or mean of each window, and the indices of maxima.
pub(super) fn pool(call: &Call<'_, '_>) -> Inferred {
    if has_channels_last(call) {
        return rank_only::same_rank(call);
    }
    let dims = window_dims(call, kernels(call, None), None);
    let indices = Value::tensor(ElementType::Int64, dims.clone());
    Some(vec![Value::tensor(call.element(0), dims), indices])
}

fn has_channels_last(call: &Call<'_, '_>) -> bool {
    call.int("channels_last").unwrap_or(0) != 0
}

/// Sizes of the window, from the attribute or the weights.
fn kernels(call: &Call<'_, '_>, weights: Option<&[Dim]>) -> Vec<Option<i64>> {
    if let Some(explicit) = call.ints("kernel_shape") {
        return explicit.iter().copied().map(Some).collect();
    }
    let size = |dim| dims::fixed(dim).and_then(|size| i64::try_from(size).ok());
    weights.and_then(|dims| dims.get(2..)).unwrap_or_default().iter().map(size).collect()
}

/// Output dimensions of a window over the first input.
fn window_dims(
    call: &Call<'_, '_>,
    kernels: Vec<Option<i64>>,
    channels: Option<Dim>,
) -> Option<Vec<Dim>> {
    let input = call.dims(0).filter(|input| input.len() >= 2)?;
    let (outer, spatial) = input.split_at(2);
    let window = Window::of(call, spatial.len(), kernels);
    let channels = channels.unwrap_or_else(|| outer[1].clone());
    let spatial = spatial.iter().enumerate().map(|(axis, dim)| window.slide(axis, dim));
    Some([outer[0].clone(), channels].into_iter().chain(spatial).collect())
}

/// Attributes of a window over `rank` spatial dimensions.
struct Window<'a> {
    rank: usize,
    kernels: Vec<Option<i64>>,
    strides: Option<&'a [i64]>,
    dilations: Option<&'a [i64]>,
    pads: Option<&'a [i64]>,
    auto_pad: &'a str,
    /// True if a window may start inside and end outside.
    ceil: bool,
}

impl<'a> Window<'a> {
    fn of(call: &Call<'_, 'a>, rank: usize, kernels: Vec<Option<i64>>) -> Self {
        Self {
            rank,
            kernels,
            strides: call.ints("strides"),
            dilations: call.ints("dilations"),
            pads: call.ints("pads"),
            auto_pad: call.text("auto_pad"),
            ceil: call.int("ceil_mode").unwrap_or(0) != 0,
        }
    }

    fn stride(&self, axis: usize) -> Option<i128> {
        at(self.strides, axis, 1).filter(|stride| *stride >= 1)
    }

    /// Elements that the window spans, gaps included.
    fn span(&self, axis: usize) -> Option<i128> {
        let kernel = (*self.kernels.get(axis)?)?;
        let dilation = at(self.dilations, axis, 1).filter(|dilation| *dilation >= 1)?;
        (kernel >= 1).then(|| (i128::from(kernel) - 1) * dilation + 1)
    }

    /// Pads before and behind a dimension.
    fn pads(&self, axis: usize) -> Option<(i128, i128)> {
        let pads = if self.auto_pad == "VALID" { None } else { self.pads };
        Some((at(pads, axis, 0)?, at(pads, axis + self.rank, 0)?))
    }

    fn is_same(&self) -> bool {
        self.auto_pad.starts_with("SAME_")
    }

    /// Number of window positions.
    fn slide(&self, axis: usize, dim: &Dim) -> Dim {
        self.steps(axis, dim).unwrap_or(Dim::Unknown)
    }

    fn steps(&self, axis: usize, dim: &Dim) -> Option<Dim> {
        let stride = self.stride(axis)?;
        if self.is_same() {
            // Runtimes disagree about the border of dilated windows.
            let has_gaps = self.dilations.is_some_and(|all| all.iter().any(|each| *each != 1));
            return if has_gaps {
                None
            } else if stride == 1 {
                Some(dim.clone())
            } else {
                size((i128::from(dims::fixed(dim)?) + stride - 1) / stride)
            };
        }
        let (span, (before, behind)) = (self.span(axis)?, self.pads(axis)?);
        if stride == 1 && before + behind == span - 1 {
            return Some(dim.clone());
        }
        let whole = i128::from(dims::fixed(dim)?);
        let room = whole + before + behind - span;
        let steps = room + if self.ceil { stride - 1 } else { 0 };
        let mut count = if room < 0 { return None } else { steps / stride + 1 };
        // The last window must start inside, or in the pad before.
        if self.ceil && (count - 1) * stride >= whole + before {
            count -= 1;
        }
        size(count)
    }

    /// Output size of a transposed convolution.
    fn spread(&self, axis: usize, dim: &Dim, more: i128) -> Option<Dim> {
        let (whole, stride) = (i128::from(dims::fixed(dim)?), self.stride(axis)?);
        if self.is_same() {
            return size(whole * stride);
        }
        let (before, behind) = self.pads(axis)?;
        size((whole - 1) * stride + more + self.span(axis)? - before - behind)
    }
}

/// Entry of a list for an axis; `None` if the list is too short.
fn at(list: Option<&[i64]>, axis: usize, default: i128) -> Option<i128> {
    list.map_or(Some(default), |list| list.get(axis).copied().map(i128::from))
}

fn size(size: i128) -> Option<Dim> {
    u64::try_from(size).ok().map(Dim::Fixed)
}

pub(super) fn conv_transpose(call: &Call<'_, '_>) -> Inferred {
    let weights = call.dims(1);
    let group = call.int("group").unwrap_or(1);
    let channels = weights
        .and_then(|dims| dims::fixed(dims.get(1)?))
        .and_then(|channels| channels.checked_mul(u64::try_from(group).ok()?).map(Dim::Fixed));
    let dims = transposed_dims(call, channels.unwrap_or(Dim::Unknown), kernels(call, weights));
    Some(vec![Value::tensor(call.element(0), dims)])
}

fn transposed_dims(
    call: &Call<'_, '_>,
    channels: Dim,
    kernels: Vec<Option<i64>>,
) -> Option<Vec<Dim>> {
    let input = call.dims(0).filter(|input| input.len() >= 2)?;
    let (outer, spatial) = input.split_at(2);
    let window = Window::of(call, spatial.len(), kernels);
    let (explicit, more) = (call.ints("output_shape"), call.ints("output_padding"));
    let dim = |(axis, dim)| {
        let dim = match explicit {
            Some(_) => at(explicit, axis, 0).and_then(size),
            None => at(more, axis, 0).and_then(|more| window.spread(axis, dim, more)),
        };
        dim.unwrap_or(Dim::Unknown)
    };
    let spatial = spatial.iter().enumerate().map(dim);
    Some([outer[0].clone(), channels].into_iter().chain(spatial).collect())
}
