//! Geometry of the windows of kernels and pools over images: sizes, strides and padding.

use crate::network::operator::{CompileError, NodeContext};

/// Attributes of windows, before the image is known; one or two spatial dimensions.
#[derive(Debug, Clone)]
pub(crate) struct Windows {
    kernel: Option<Vec<usize>>,
    strides: Vec<usize>,
    dilations: Vec<usize>,
    padding: Padding,
    is_rounded_up: bool,
}

#[derive(Debug, Clone)]
enum Padding {
    /// Padding before each dimension, then after each.
    Given(Vec<usize>),
    /// Padding for outputs of size inputs / strides; an odd pixel comes after, or before.
    Same { is_odd_before: bool },
}

/// Windows over images of one size. Each pair is height, width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grid {
    /// Size of the image.
    pub(crate) input: [usize; 2],
    /// Size of the window.
    pub(crate) kernel: [usize; 2],
    /// Number of windows.
    pub(crate) output: [usize; 2],
    /// Distance between windows.
    pub(crate) stride: [usize; 2],
    /// Distance between pixels of a window.
    pub(crate) dilation: [usize; 2],
    /// Padding before the image.
    pub(crate) before: [usize; 2],
    /// Padding after the image.
    pub(crate) after: [usize; 2],
}

impl Windows {
    /// Parses the attributes of a `Conv` or a pool.
    pub(crate) fn of(context: &NodeContext<'_>) -> Result<Self, CompileError> {
        let kernel = context.ints("kernel_shape")?.map(|_| context.sizes("kernel_shape", &[]));
        let kernel = kernel.transpose()?;
        let known = kernel.as_ref().map_or(2, Vec::len);
        let padding = match context.node.text("auto_pad")?.unwrap_or("NOTSET") {
            "NOTSET" => Padding::Given(context.sizes("pads", &vec![0; 2 * known])?),
            "VALID" => Padding::Given(vec![0; 2 * known]),
            "SAME_UPPER" => Padding::Same { is_odd_before: false },
            "SAME_LOWER" => Padding::Same { is_odd_before: true },
            other => return Err(format!("with auto_pad {other} is not supported").into()),
        };
        let strides = context.sizes("strides", &[1; 2][..known.min(2)])?;
        let dilations = context.sizes("dilations", &[1; 2][..known.min(2)])?;
        if known > 2 || strides.contains(&0) || dilations.contains(&0) {
            let problem =
                "over more than two spatial dimensions, or with a step of 0, is not supported";
            return Err(problem.to_owned().into());
        }
        let is_rounded_up = context.int("ceil_mode", 0)? != 0;
        Ok(Self { kernel, strides, dilations, padding, is_rounded_up })
    }

    /// Places the windows over an image; `kernel` is the size of the weights, if any.
    pub(crate) fn over(&self, image: &[usize], kernel: Option<&[usize]>) -> Result<Grid, String> {
        let own = self.kernel.as_deref();
        let kernel = kernel.or(own).ok_or("has no kernel_shape")?;
        if own.is_some_and(|own| own != kernel) {
            return Err(format!("has kernel_shape {own:?}, but weights of {kernel:?}"));
        }
        let (input, kernel) = (pair(image, 1)?, pair(kernel, 1)?);
        let (stride, dilation) = (pair(&self.strides, 1)?, pair(&self.dilations, 1)?);
        let mut grid =
            Grid { input, kernel, output: [0; 2], stride, dilation, before: [0; 2], after: [0; 2] };
        for axis in 0..2 {
            self.place(&mut grid, axis, axis + image.len().min(2) == 2 || axis == 1)?;
        }
        Ok(grid)
    }

    /// Computes the padding and the number of windows along one axis.
    fn place(&self, grid: &mut Grid, axis: usize, exists: bool) -> Result<(), String> {
        if !exists {
            grid.output[axis] = 1;
            return Ok(());
        }
        let (input, stride) = (grid.input[axis], grid.stride[axis]);
        let reach = grid.kernel[axis].saturating_sub(1).saturating_mul(grid.dilation[axis]) + 1;
        match &self.padding {
            Padding::Given(pads) => {
                let rank = pads.len() / 2;
                let position = (axis + rank).checked_sub(2).ok_or("has too few pads")?;
                grid.before[axis] = *pads.get(position).ok_or("has too few pads")?;
                grid.after[axis] = *pads.get(position + rank).ok_or("has too few pads")?;
            }
            Padding::Same { is_odd_before } => {
                let wanted = input.div_ceil(stride).saturating_sub(1) * stride + reach;
                let total = wanted.saturating_sub(input);
                let (small, large) = (total / 2, total.div_ceil(2));
                let pads = if *is_odd_before { (large, small) } else { (small, large) };
                (grid.before[axis], grid.after[axis]) = pads;
            }
        }
        let padded = input.saturating_add(grid.before[axis]).saturating_add(grid.after[axis]);
        let free = padded.checked_sub(reach).filter(|_| grid.kernel[axis] > 0);
        let free = free.ok_or_else(|| {
            format!("has windows of {reach}, which do not fit an image of {padded} pixels")
        })?;
        if grid.before[axis] >= reach || grid.after[axis] >= reach {
            return Err(format!("pads by {reach} or more for windows of {reach}"));
        }
        let mut count = free / stride + 1;
        if self.is_rounded_up && free % stride > 0 && count * stride < input + grid.before[axis] {
            count += 1;
        }
        grid.output[axis] = count;
        Ok(())
    }
}

/// Two sizes, with `first` before a single one.
fn pair(sizes: &[usize], first: usize) -> Result<[usize; 2], String> {
    match sizes {
        [width] => Ok([first, *width]),
        [height, width] => Ok([*height, *width]),
        _ => Err(format!("requires images of one or two dimensions, not {}", sizes.len())),
    }
}

impl Grid {
    /// Pixels of an image.
    pub(crate) fn pixels(&self) -> usize {
        self.input[0] * self.input[1]
    }

    /// Number of windows.
    pub(crate) fn windows(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// Pixels of a window.
    pub(crate) fn window_pixels(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Returns true if windows are 2 × 2, adjacent, and inside the image.
    pub(crate) fn is_2x2(&self) -> bool {
        let two = [2; 2];
        self.kernel == two
            && self.stride == two
            && self.dilation == [1; 2]
            && self.before == [0; 2]
            && self.output == self.input.map(|size| size / 2)
            && self.output.iter().all(|size| *size > 0)
    }

    /// Returns true if some window exceeds the image.
    pub(crate) fn is_padded(&self) -> bool {
        (0..2).any(|axis| {
            let last = (self.output[axis].max(1) - 1) * self.stride[axis];
            let reach = last + (self.kernel[axis] - 1) * self.dilation[axis];
            self.before[axis] > 0 || reach >= self.input[axis]
        })
    }

    /// Position along `axis` of the pixel `inside` of window `window`, if it lies in the image.
    pub(crate) fn source(&self, axis: usize, window: usize, inside: usize) -> Option<usize> {
        let position = window * self.stride[axis] + inside * self.dilation[axis];
        position.checked_sub(self.before[axis]).filter(|position| *position < self.input[axis])
    }

    /// The windows along `axis` whose pixel `inside` lies in the image.
    pub(crate) fn inside(&self, axis: usize, inside: usize) -> std::ops::Range<usize> {
        let (stride, offset) = (self.stride[axis], inside * self.dilation[axis]);
        // A stride of 1 is common, and a division costs as much as the pixels of a small window.
        let windows = |pixels: usize| if stride == 1 { pixels } else { pixels.div_ceil(stride) };
        let first = windows(self.before[axis].saturating_sub(offset));
        let end = windows((self.input[axis] + self.before[axis]).saturating_sub(offset));
        let end = end.min(self.output[axis]);
        first.min(end)..end
    }
}
