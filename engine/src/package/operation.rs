//! Operations that have a sparse form, read from their nodes.

use skysail_graph::{GraphError, Layout, Role, Weight};
use skysail_kernels::Convolution;

/// Operation of a layer that can run sparse.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Operation {
    /// A product of matrices.
    Product(Product),
    /// A convolution of images (`rank` 2) or sequences (`rank` 1).
    Convolution { outputs: usize, rank: usize, convolution: Convolution },
}

/// The product `y = x W`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Product {
    pub(super) outputs: usize,
    pub(super) inputs: usize,
    /// True if the weights have a row for each input rather than for each output.
    pub(super) by_inputs: bool,
}

impl Operation {
    /// Channels of the output, or numbers of one of its rows.
    pub(super) fn outputs(&self) -> usize {
        match self {
            Self::Product(product) => product.outputs,
            Self::Convolution { outputs, .. } => *outputs,
        }
    }

    /// Weights for each output.
    pub(super) fn inputs(&self) -> usize {
        match self {
            Self::Product(product) => product.inputs,
            Self::Convolution {
                convolution: Convolution { channels, groups, kernel, .. }, ..
            } => channels / groups * kernel[0] * kernel[1],
        }
    }
}

/// Reads a product from its node; `None` if it has no sparse form.
pub(super) fn product(weight: &Weight<'_>) -> Result<Option<Operation>, GraphError> {
    let node = weight.node;
    let shape = sizes(&weight.tensor.shape()?);
    let (Some([first, last]), Role::Weight(layout)) = (shape.as_deref(), weight.role) else {
        return Ok(None);
    };
    let (outputs, inputs, by_inputs) = match layout {
        Layout::OutputsByInputs => (*first, *last, false),
        Layout::InputsByOutputs => (*last, *first, true),
        Layout::Unknown => return Ok(None),
    };
    if node.op_type() == "Gemm" && node.int("transA")?.unwrap_or(0) != 0 {
        return Ok(None);
    }
    Ok(Some(Operation::Product(Product { outputs, inputs, by_inputs })))
}

/// Reads a convolution of one or two dimensions; `None` if its padding depends on its input.
pub(super) fn convolution(weight: &Weight<'_>) -> Result<Option<Operation>, GraphError> {
    let node = weight.node;
    let has_fixed_pads = matches!(node.text("auto_pad")?, None | Some("" | "NOTSET" | "VALID"));
    let shape = sizes(&weight.tensor.shape()?);
    let Some([outputs, channels_of_group, kernel @ ..]) = shape.as_deref() else {
        return Ok(None);
    };
    let rank = kernel.len();
    if !has_fixed_pads || !(1..=2).contains(&rank) {
        return Ok(None);
    }
    let attribute = |name: &str, count: usize, default: usize| -> Result<_, GraphError> {
        let Some(values) = node.ints(name)? else { return Ok(Some(vec![default; count])) };
        let values: Option<Vec<_>> = values.iter().map(|v| usize::try_from(*v).ok()).collect();
        Ok(values.filter(|values| values.len() == count))
    };
    let groups = node.int("group")?.map_or(Some(1), |groups| usize::try_from(groups).ok());
    let (Some(groups), Some(strides), Some(dilations), Some(pads)) = (
        groups,
        attribute("strides", rank, 1)?,
        attribute("dilations", rank, 1)?,
        attribute("pads", 2 * rank, 0)?,
    ) else {
        return Ok(None);
    };
    let Some(channels) = channels_of_group.checked_mul(groups) else { return Ok(None) };
    // In a convolution of one dimension, everything has one row.
    let two = |sizes: &[usize]| if rank == 1 { [1, sizes[0]] } else { [sizes[0], sizes[1]] };
    let pads =
        if rank == 1 { [0, pads[0], 0, pads[1]] } else { [pads[0], pads[1], pads[2], pads[3]] };
    let convolution = Convolution {
        channels,
        groups,
        kernel: two(kernel),
        strides: two(&strides),
        dilations: two(&dilations),
        pads,
    };
    Ok(Some(Operation::Convolution { outputs: *outputs, rank, convolution }))
}

fn sizes(shape: &[u64]) -> Option<Vec<usize>> {
    shape.iter().map(|size| usize::try_from(*size).ok()).collect()
}
