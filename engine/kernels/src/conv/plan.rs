//! How the pixels of an output are put into strips, and where the strips' lines come from.
//!
//! A strip has sixteen lanes, which lie side by side in the output: a part of one of its rows, or,
//! where those are short, a few whole rows. The weights of one row of the kernel meet, for each
//! channel and column of the kernel, a line of a row of the input; those of the next row of the
//! kernel meet the lines of a row further down. So lines are made once for each row of the input,
//! and not again for each row of the kernel.

use super::shape::{Convolution, Images};
use crate::KernelError;
use crate::aligned::LINE;
use crate::panel::Panel;
use std::ops::Range;

/// The numbers of a chunk's lines: they should stay in the second cache.
const CHUNK: usize = 1 << 18;

/// The numbers of a chunk's lines that are refused: 1 GB.
const LINES_MAX: usize = 1 << 28;

/// The least groups of rows of a chunk: between two chunks some rows are laid out twice.
const GROUPS_MIN: usize = 8;

/// What follows from the size of the images.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) convolution: Convolution,
    /// What it is for.
    pub(super) images: Images,
    pub(super) input: Images,
    pub(super) output: Images,
    /// The lines of a strip, for one row of the kernel.
    pub(super) panel: Panel,
    /// Rows of the output that a strip has.
    rows: usize,
    /// Strips that a row of the output has.
    strips: usize,
}

/// Some of the output: several images, or rows of one.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    pub(super) images: Range<usize>,
    /// Rows of the output, as many together as a strip has.
    pub(super) groups: Range<usize>,
}

/// Lanes of a line that lie side by side in a row of the input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) first: usize,
    pub(crate) len: usize,
    /// Where the first lane's number lies in its channel.
    pub(crate) start: usize,
}

/// Where a strip of the output lies, for every channel.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Place {
    pub(super) image: usize,
    pub(super) pixel: usize,
    /// Lanes that are pixels.
    pub(super) len: usize,
}

impl Plan {
    /// A plan for images of this size, of a convolution that has been checked.
    ///
    /// # Errors
    /// When the images do not fit the convolution, or its lines the memory.
    pub(super) fn new(
        convolution: Convolution,
        images: Images,
        panel: Panel,
    ) -> Result<Self, KernelError> {
        let (mut input, mut output) = (images, convolution.output(images)?);
        if convolution.is_pointwise() {
            // Pixels do not know their neighbours: an image is one long row.
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

    /// Groups of rows of an image.
    pub(super) fn groups(&self) -> usize {
        self.output.height.div_ceil(self.rows)
    }

    /// Rows of the input from one group to the next.
    fn stride(&self) -> usize {
        self.rows * self.convolution.strides[0]
    }

    /// Rows of the input, pads included, where lines of so many groups start.
    pub(super) fn starts(&self, groups: usize) -> usize {
        let reach = (self.convolution.kernel[0] - 1) * self.convolution.dilations[0];
        (groups - 1) * self.stride() + reach + 1
    }

    /// The numbers of the lines of one row of the input.
    pub(super) fn row_len(&self) -> usize {
        self.strips * self.panel.strip_len()
    }

    /// From the lines of one row of the kernel to those of the next.
    pub(super) fn step(&self) -> usize {
        self.convolution.dilations[0] * self.row_len()
    }

    /// The parts of the output that are worked on one after the other.
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

    /// The numbers of the lines of a chunk.
    pub(super) fn chunk_len(&self, chunk: &Chunk) -> usize {
        chunk.images.len() * self.starts(chunk.groups.len()) * self.row_len()
    }

    /// The strips of a chunk.
    pub(super) fn chunk_strips(&self, chunk: &Chunk) -> usize {
        chunk.images.len() * chunk.groups.len() * self.strips
    }

    /// Whether some group of a chunk meets the lines that start at this row, counted from where
    /// those of its first group start.
    pub(super) fn is_met(&self, chunk: &Chunk, row: usize) -> bool {
        (0..self.convolution.kernel[0]).any(|tap| {
            let first = row.checked_sub(tap * self.convolution.dilations[0]);
            first.is_some_and(|first| {
                first.is_multiple_of(self.stride()) && first / self.stride() < chunk.groups.len()
            })
        })
    }

    /// Where a chunk's strip lies in the output, and where its lines start in the chunk's.
    pub(super) fn strip(&self, chunk: &Chunk, index: usize) -> (Place, usize) {
        let (row, strip) = (index / self.strips, index % self.strips);
        let (image, group) = (row / chunk.groups.len(), row % chunk.groups.len());
        let start = image * self.starts(chunk.groups.len()) + group * self.stride();
        let line = (start * self.strips + strip) * self.panel.strip_len();
        let row = (chunk.groups.start + group) * self.rows;
        let pixel = row * self.output.width + strip * LINE;
        let end = self.output.height.min(row + self.rows) * self.output.width;
        (Place { image: chunk.images.start + image, pixel, len: LINE.min(end - pixel) }, line)
    }

    /// The runs of the lines of a strip that start at a row of the input, counted as for
    /// [`is_met`](Self::is_met): for each column of the kernel one for each row of the strip.
    pub(super) fn runs(&self, chunk: &Chunk, row: usize, strip: usize, runs: &mut Vec<Run>) {
        let Convolution { kernel, strides, dilations, pads, .. } = self.convolution;
        let first = chunk.groups.start * self.stride() + row;
        let width = if self.rows == 1 { LINE } else { self.output.width };
        runs.clear();
        for tap in 0..kernel[1] {
            for index in 0..self.rows {
                let row = (first + index * strides[0]).checked_sub(pads[0]);
                let row = row.filter(|row| *row < self.input.height);
                // The column of lane 0 is this one, less the pad.
                let column = strip * LINE * strides[1] + tap * dilations[1];
                let from = pads[1].saturating_sub(column).div_ceil(strides[1]).min(width);
                let end = (self.input.width + pads[1]).saturating_sub(column);
                let to = end.div_ceil(strides[1]).min(width).max(from);
                let run = row.filter(|_| to > from).map(|row| Run {
                    first: index * width + from,
                    len: to - from,
                    start: row * self.input.width + from * strides[1] + column - pads[1],
                });
                runs.push(run.unwrap_or_default());
            }
        }
    }

    /// The rows of a strip.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }
}
