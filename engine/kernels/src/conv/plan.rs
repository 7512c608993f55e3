//! Layout of an output's pixels in strips, and of the strips' lines.
//!
//! A strip has sixteen lanes, which are adjacent in the output: a part of one row, or several whole
//! rows if these are short.
//!
//! For each channel and kernel column, the weights of one kernel row meet a line from an input row.
//! Those of the next kernel row meet the lines of a lower input row. So lines are made once for
//! each input row, not for each kernel row.

use super::shape::{Convolution, Images};
use crate::KernelError;
use crate::aligned::LINE;
use crate::panel::{Panel, Segment};
use std::ops::Range;

/// Numbers in a chunk's lines, so that they stay in the second-level cache.
const CHUNK: usize = 1 << 18;

/// Largest numbers in a chunk's lines: 1 GB. Larger ones are rejected.
const LINES_MAX: usize = 1 << 28;

/// Fewest groups of rows in a chunk: between two chunks some rows are laid out twice.
const GROUPS_MIN: usize = 8;

/// Plan of a convolution for images of one size.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) convolution: Convolution,
    /// Size of the images.
    pub(super) images: Images,
    pub(super) input: Images,
    pub(super) output: Images,
    /// Lines of a strip, for one kernel row.
    pub(super) panel: Panel,
    /// Output rows in a strip.
    rows: usize,
    /// Strips in an output row.
    strips: usize,
}

/// A part of the output: several images, or rows of one.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    pub(super) images: Range<usize>,
    /// Groups of output rows; a group has the rows of a strip.
    pub(super) groups: Range<usize>,
}

/// Position of a strip in the output, for every channel.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct StripPosition {
    pub(super) image: usize,
    pub(super) pixel: usize,
    /// Lanes that are pixels.
    pub(super) len: usize,
}

impl Plan {
    /// Makes a plan for images of this size, of a checked convolution.
    ///
    /// # Errors
    /// When the images do not fit the convolution, or its lines do not fit the memory.
    pub(super) fn new(
        convolution: Convolution,
        images: Images,
        panel: Panel,
    ) -> Result<Self, KernelError> {
        let (mut input, mut output) = (images, convolution.output(images)?);
        if convolution.is_pointwise() {
            // Pixels are independent of their neighbours: an image is one long row.
            for images in [&mut input, &mut output] {
                *images = Images { height: 1, width: images.pixels(), ..*images };
            }
        }
        let (rows, strips) = match output.width {
            width if width <= LINE / 2 => (LINE / width, 1),
            width => (1, width.div_ceil(LINE)),
        };
        let plan = Self { convolution, images, input, output, panel, rows, strips };
        let groups = plan.groups().min(GROUPS_MIN);
        let least = strips.checked_mul(panel.strip_len());
        let least = least.and_then(|row| row.checked_mul(plan.starts(groups)));
        match least {
            Some(0..=LINES_MAX) => Ok(plan),
            _ => Err(KernelError::Convolution(format!(
                "{images:?} with their pads are too large for {convolution:?}"
            ))),
        }
    }

    /// Groups of rows in an image.
    pub(super) fn groups(&self) -> usize {
        self.output.height.div_ceil(self.rows)
    }

    /// Input rows from one group to the next.
    fn stride(&self) -> usize {
        self.rows * self.convolution.strides[0]
    }

    /// Input rows, pads included, at which lines of these groups start.
    pub(super) fn starts(&self, groups: usize) -> usize {
        let reach = (self.convolution.kernel[0] - 1) * self.convolution.dilations[0];
        (groups - 1) * self.stride() + reach + 1
    }

    /// Numbers in the lines of one input row.
    pub(super) fn row_len(&self) -> usize {
        self.strips * self.panel.strip_len()
    }

    /// Distance from the lines of one kernel row to those of the next.
    pub(super) fn step(&self) -> usize {
        self.convolution.dilations[0] * self.row_len()
    }

    /// Parts of the output, which are computed one after the other.
    pub(super) fn chunks(&self) -> impl Iterator<Item = Chunk> + '_ {
        let groups = self.groups();
        let image_len = self.starts(groups) * self.row_len();
        let images = (CHUNK / image_len.max(1)).max(1);
        let some = if image_len <= CHUNK {
            groups
        } else {
            (CHUNK / (self.row_len() * self.stride()).max(1)).clamp(GROUPS_MIN.min(groups), groups)
        };
        (0..self.output.count).step_by(images).flat_map(move |image| {
            (0..groups).step_by(some).map(move |group| Chunk {
                images: image..self.output.count.min(image + images),
                groups: group..groups.min(group + some),
            })
        })
    }

    /// Numbers in the lines of a chunk.
    pub(super) fn chunk_len(&self, chunk: &Chunk) -> usize {
        chunk.images.len() * self.starts(chunk.groups.len()) * self.row_len()
    }

    /// Strips in a chunk.
    pub(super) fn chunk_strips(&self, chunk: &Chunk) -> usize {
        chunk.images.len() * chunk.groups.len() * self.strips
    }

    /// True if a group of the chunk uses the lines that start at this row, counted from those of
    /// its first group.
    pub(super) fn is_used(&self, chunk: &Chunk, row: usize) -> bool {
        (0..self.convolution.kernel[0]).any(|tap| {
            let first = row.checked_sub(tap * self.convolution.dilations[0]);
            first.is_some_and(|first| {
                first.is_multiple_of(self.stride()) && first / self.stride() < chunk.groups.len()
            })
        })
    }

    /// Position of a chunk's strip in the output, and start of its lines in the chunk.
    pub(super) fn strip(&self, chunk: &Chunk, index: usize) -> (StripPosition, usize) {
        let (row, strip) = (index / self.strips, index % self.strips);
        let (image, group) = (row / chunk.groups.len(), row % chunk.groups.len());
        let start = image * self.starts(chunk.groups.len()) + group * self.stride();
        let line = (start * self.strips + strip) * self.panel.strip_len();
        let row = (chunk.groups.start + group) * self.rows;
        let pixel = row * self.output.width + strip * LINE;
        let end = self.output.height.min(row + self.rows) * self.output.width;
        (
            StripPosition { image: chunk.images.start + image, pixel, len: LINE.min(end - pixel) },
            line,
        )
    }

    /// Finds the segments of a strip's lines that start at an input row, counted as for
    /// [`is_used`](Self::is_used). There is one for each kernel column and row of the strip.
    pub(super) fn segments(
        &self,
        chunk: &Chunk,
        row: usize,
        strip: usize,
        segments: &mut Vec<Segment>,
    ) {
        let Convolution { kernel, strides, dilations, pads, .. } = self.convolution;
        let first = chunk.groups.start * self.stride() + row;
        let width = if self.rows == 1 { LINE } else { self.output.width };
        segments.clear();
        for tap in 0..kernel[1] {
            for index in 0..self.rows {
                let row = (first + index * strides[0]).checked_sub(pads[0]);
                let row = row.filter(|row| *row < self.input.height);
                // Column of lane 0, before the pad is subtracted.
                let column = strip * LINE * strides[1] + tap * dilations[1];
                let from = pads[1].saturating_sub(column).div_ceil(strides[1]).min(width);
                let end = (self.input.width + pads[1]).saturating_sub(column);
                let to = end.div_ceil(strides[1]).min(width).max(from);
                let segment = row.filter(|_| to > from).map(|row| Segment {
                    first: index * width + from,
                    len: to - from,
                    start: row * self.input.width + from * strides[1] + column - pads[1],
                });
                segments.push(segment.unwrap_or_default());
            }
        }
    }

    /// Rows in a strip.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }
}
