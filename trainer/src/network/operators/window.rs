//! How windows of kernels and pools lie over images: sizes, steps, padding.

use crate::network::operator::{Call, Refusal};

/// The attributes of windows, before the image is known. One or two dimensions of space.
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
    /// Before each dimension, then after each.
    Given(Vec<usize>),
    /// So that outputs are inputs / strides; the odd one comes after, or before.
    Same { is_odd_before: bool },
}

/// Windows over images of one size. Each pair is height, width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grid {
    /// The image.
    pub(crate) input: [usize; 2],
    /// The window.
    pub(crate) kernel: [usize; 2],
    /// How many windows.
    pub(crate) output: [usize; 2],
    /// From one window to the next.
    pub(crate) stride: [usize; 2],
    /// From one of a window's pixels to the next.
    pub(crate) dilation: [usize; 2],
    /// Empty pixels before the image.
    pub(crate) before: [usize; 2],
    /// Empty pixels after the image.
    pub(crate) after: [usize; 2],
}

impl Windows {
    /// The attributes of a `Conv` or a pool.
    pub(crate) fn of(call: &Call<'_>) -> Result<Self, Refusal> {
        let kernel = call.ints("kernel_shape")?.map(|_| call.sizes("kernel_shape", &[]));
        let kernel = kernel.transpose()?;
        let known = kernel.as_ref().map_or(2, Vec::len);
        let padding = match call.node.text("auto_pad")?.unwrap_or("NOTSET") {
            "NOTSET" => Padding::Given(call.sizes("pads", &vec![0; 2 * known])?),
            "VALID" => Padding::Given(vec![0; 2 * known]),
            "SAME_UPPER" => Padding::Same { is_odd_before: false },
            "SAME_LOWER" => Padding::Same { is_odd_before: true },
            other => return Err(format!("with auto_pad {other} is not supported").into()),
        };
        let strides = call.sizes("strides", &[1; 2][..known.min(2)])?;
        let dilations = call.sizes("dilations", &[1; 2][..known.min(2)])?;
        if known > 2 || strides.contains(&0) || dilations.contains(&0) {
            let problem = "over more than two dimensions of space, or with a step of 0, is not";
            return Err(format!("{problem} supported").into());
        }
        let is_rounded_up = call.int("ceil_mode", 0)? != 0;
        Ok(Self { kernel, strides, dilations, padding, is_rounded_up })
    }

    /// The windows over an image; `kernel` is that of the weights, where there are any.
    pub(crate) fn over(&self, image: &[usize], kernel: Option<&[usize]>) -> Result<Grid, String> {
        let own = self.kernel.as_deref();
        let kernel = kernel.or(own).ok_or("has no kernel_shape")?;
        if own.is_some_and(|own| own != kernel) {
            return Err(format!("has kernel_shape {own:?}, and weights of {kernel:?}"));
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

    /// Finds the padding and the number of windows along one axis.
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
                let place = (axis + rank).checked_sub(2).ok_or("has too few pads")?;
                grid.before[axis] = *pads.get(place).ok_or("has too few pads")?;
                grid.after[axis] = *pads.get(place + rank).ok_or("has too few pads")?;
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
        let room = padded.checked_sub(reach).filter(|_| grid.kernel[axis] > 0);
        let room = room.ok_or_else(|| {
            format!("has windows of {reach}, which do not fit an image of {padded} pixels")
        })?;
        if grid.before[axis] >= reach || grid.after[axis] >= reach {
            return Err(format!("pads by {} and more for windows of {reach}", reach));
        }
        let mut count = room / stride + 1;
        if self.is_rounded_up && room % stride > 0 && count * stride < input + grid.before[axis] {
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
        _ => Err(format!("takes images of one or two dimensions, not {}", sizes.len())),
    }
}

impl Grid {
    /// Pixels of an image.
    pub(crate) fn pixels(&self) -> usize {
        self.input[0] * self.input[1]
    }

    /// How many windows there are.
    pub(crate) fn windows(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// The pixels of a window.
    pub(crate) fn window_pixels(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Whether windows are 2 × 2, side by side, and all inside the image.
    pub(crate) fn halves(&self) -> bool {
        let two = [2; 2];
        self.kernel == two
            && self.stride == two
            && self.dilation == [1; 2]
            && self.before == [0; 2]
            && self.output == self.input.map(|size| size / 2)
            && self.output.iter().all(|size| *size > 0)
    }

    /// Whether some window reaches out of the image.
    pub(crate) fn is_padded(&self) -> bool {
        (0..2).any(|axis| {
            let last = (self.output[axis].max(1) - 1) * self.stride[axis];
            let reach = last + (self.kernel[axis] - 1) * self.dilation[axis];
            self.before[axis] > 0 || reach >= self.input[axis]
        })
    }

    /// Where along `axis` the pixel `inside` of window `window` lies, if inside the image.
    pub(crate) fn source(&self, axis: usize, window: usize, inside: usize) -> Option<usize> {
        let place = window * self.stride[axis] + inside * self.dilation[axis];
        place.checked_sub(self.before[axis]).filter(|place| *place < self.input[axis])
    }

    /// The windows along `axis` whose pixel `inside` lies in the image.
    pub(crate) fn inside(&self, axis: usize, inside: usize) -> std::ops::Range<usize> {
        let (stride, offset) = (self.stride[axis], inside * self.dilation[axis]);
        // Most windows lie side by side, and a division costs as much as the pixels of a small one.
        let windows = |pixels: usize| if stride == 1 { pixels } else { pixels.div_ceil(stride) };
        let first = windows(self.before[axis].saturating_sub(offset));
        let end = windows((self.input[axis] + self.before[axis]).saturating_sub(offset));
        let end = end.min(self.output[axis]);
        first.min(end)..end
    }
}
