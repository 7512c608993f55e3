//! Parameters and sizes of a convolution.

use crate::KernelError;
use crate::weights::{AREA_MAX, SIDE_MAX};

/// Largest stride: lanes are indexed by 32 bits.
const STRIDE_MAX: usize = 1 << 24;

/// Parameters of a convolution of images: ONNX's `Conv` with two spatial dimensions. Sequences are
/// images of one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Convolution {
    /// Number of input channels.
    pub channels: usize,
    /// Groups, each with its own share of the channels.
    pub groups: usize,
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    /// Rows and columns from one output to the next.
    pub strides: [usize; 2],
    /// Rows and columns from one kernel weight to the next.
    pub dilations: [usize; 2],
    /// Zeros around the image: above, left, below, right.
    pub pads: [usize; 4],
}

/// Images of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Images {
    /// Number of images.
    pub count: usize,
    /// Rows of an image.
    pub height: usize,
    /// Columns of an image.
    pub width: usize,
}

impl Images {
    /// Pixels of one image's channel; `usize::MAX` if they overflow.
    pub fn pixels(&self) -> usize {
        self.height.saturating_mul(self.width)
    }
}

impl Convolution {
    /// Input channels of a group.
    pub(crate) fn channels_of_group(&self) -> usize {
        self.channels / self.groups
    }

    /// Kernel weights of a channel.
    pub(crate) fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// True if each output pixel depends only on the input pixel in the same position.
    pub(crate) fn is_pointwise(&self) -> bool {
        self.kernel == [1; 2] && self.strides == [1; 2] && self.pads == [0; 4]
    }

    /// Checks the parameters for this number of outputs, and of weights for each output.
    pub(crate) fn check(&self, outputs: usize, weights: usize) -> Result<(), KernelError> {
        let refuse = |why: String| Err(KernelError::Convolution(why));
        let all = [self.channels, self.groups].into_iter().chain(self.kernel).chain(self.strides);
        let sizes: Vec<_> = all.chain(self.dilations).collect();
        if sizes.iter().any(|size| !(1..=SIDE_MAX).contains(size)) {
            return refuse(format!("sizes must be from 1 to {SIDE_MAX}, in {self:?}"));
        }
        let reach = |i: usize| (self.kernel[i] - 1).checked_mul(self.dilations[i]);
        if self.strides.iter().any(|stride| *stride > STRIDE_MAX) {
            return refuse(format!("strides must be up to {STRIDE_MAX}, in {self:?}"));
        }
        let pads_fit = self.pads.iter().all(|pad| *pad <= SIDE_MAX);
        if !pads_fit || (0..2).any(|i| reach(i).is_none_or(|reach| reach > SIDE_MAX)) {
            return refuse(format!("pads or dilated kernel are too large in {self:?}"));
        }
        let taps = self.kernel[0].checked_mul(self.kernel[1]);
        let inputs = taps.and_then(|taps| taps.checked_mul(self.channels));
        // Each group has columns of its own.
        let area = inputs.and_then(|inputs| inputs.checked_mul(outputs));
        if inputs.is_none_or(|inputs| inputs > SIDE_MAX) || area.is_none_or(|a| a > AREA_MAX) {
            return refuse(format!("the kernel is too large in {self:?}"));
        }
        let groups = self.groups;
        if !self.channels.is_multiple_of(groups) || !outputs.is_multiple_of(groups) {
            let channels = self.channels;
            return refuse(format!(
                "{channels} and {outputs} channels are not for {groups} groups"
            ));
        }
        let expected = self.channels_of_group() * self.taps();
        if weights != expected {
            return refuse(format!("an output has {weights} weights, and needs {expected}"));
        }
        Ok(())
    }

    /// Size of the output for images of this size.
    ///
    /// # Errors
    /// When the images have no pixels, the kernel is larger than an image with its pads, or the
    /// numbers are too many.
    pub fn output(&self, images: Images) -> Result<Images, KernelError> {
        let side = |size: usize, i: usize| {
            let padded = size.checked_add(self.pads[i])?.checked_add(self.pads[i + 2])?;
            let reach = self.kernel[i].checked_sub(1)?.checked_mul(self.dilations[i])?;
            (size > 0 && padded <= SIDE_MAX).then_some(())?;
            let steps = padded.checked_sub(reach.checked_add(1)?)?.checked_div(self.strides[i])?;
            Some(steps + 1)
        };
        match (side(images.height, 0), side(images.width, 1)) {
            (Some(height), Some(width)) => Ok(Images { height, width, ..images }),
            _ => Err(KernelError::Convolution(format!(
                "images of {} x {} do not fit {self:?}",
                images.height, images.width
            ))),
        }
    }
}
