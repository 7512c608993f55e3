//! Images as columns: each window of an image becomes a column of a matrix. A convolution is then a
//! product of matrices (Chellapilla, Puri and Simard, IWFHR 2006).

use super::window::Grid;

/// Some channels of some images, as columns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Columns<'a> {
    /// Grid of windows over an image.
    pub(crate) grid: &'a Grid,
    /// Channels of an image.
    pub(crate) channels: usize,
    /// First selected channel.
    pub(crate) first: usize,
    /// Number of selected channels.
    pub(crate) selected: usize,
}

impl Columns<'_> {
    /// Rows of the matrix: one per pixel of the window and channel.
    pub(crate) fn rows(&self) -> usize {
        self.selected * self.grid.window_pixels()
    }

    /// Copies the windows of `images`, which are stored one after another with all channels, into a
    /// matrix of [`rows`](Self::rows) × images · windows.
    pub(crate) fn fill(&self, images: &[f32], columns: &mut [f32]) {
        let (image, windows) = (self.channels * self.grid.pixels(), self.grid.windows());
        let count = images.len().checked_div(image).unwrap_or(0);
        if self.grid.is_padded() {
            columns.fill(0.0);
        }
        for (row, line) in columns.chunks_exact_mut((count * windows).max(1)).enumerate() {
            let runs = self.runs(row);
            let images = images.chunks_exact(image.max(1));
            for (image, line) in images.zip(line.chunks_exact_mut(windows)) {
                for (from, to) in runs.starts() {
                    let (step, to) = (self.grid.stride[1], &mut line[to..to + runs.length]);
                    if step == 1 {
                        let from = &image[from..from + runs.length];
                        to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
                    } else {
                        let from = image[from..].iter().step_by(step);
                        to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
                    }
                }
            }
        }
    }

    /// Adds each of the `columns` to its window in `images`.
    pub(crate) fn add_to(&self, columns: &[f32], images: &mut [f32]) {
        let (image, windows) = (self.channels * self.grid.pixels(), self.grid.windows());
        let count = images.len().checked_div(image).unwrap_or(0);
        for (row, line) in columns.chunks_exact((count * windows).max(1)).enumerate() {
            let runs = self.runs(row);
            let images = images.chunks_exact_mut(image.max(1));
            for (image, line) in images.zip(line.chunks_exact(windows)) {
                for (to, from) in runs.starts() {
                    let step = self.grid.stride[1];
                    let from = &line[from..from + runs.length];
                    if step == 1 {
                        let to = &mut image[to..to + runs.length];
                        to.iter_mut().zip(from).for_each(|(to, from)| *to += *from);
                    } else {
                        let to = image[to..].iter_mut().step_by(step);
                        to.zip(from).for_each(|(to, from)| *to += *from);
                    }
                }
            }
        }
    }

    /// Runs of pixels that `row` copies from each line of windows.
    fn runs(&self, row: usize) -> Runs {
        let grid = self.grid;
        let [height, width] = grid.kernel;
        let (channel, line, column) = (row / (height * width), row / width % height, row % width);
        let (down, across) = (grid.inside(0, line), grid.inside(1, column));
        if down.is_empty() || across.is_empty() {
            return Runs::default();
        }
        let left = across.start * grid.stride[1] + column * grid.dilation[1] - grid.before[1];
        let above = down.start * grid.stride[0] + line * grid.dilation[0] - grid.before[0];
        let plane = (self.first + channel) * grid.pixels();
        Runs {
            first: (
                plane + above * grid.input[1] + left,
                down.start * grid.output[1] + across.start,
            ),
            step: (grid.stride[0] * grid.input[1], grid.output[1]),
            count: down.len(),
            length: across.len(),
        }
    }
}

/// Runs of pixels, one of each line of windows. Pairs are the position of a pixel in the image, and
/// that of its window.
#[derive(Debug, Default)]
struct Runs {
    first: (usize, usize),
    /// Distance to the next run.
    step: (usize, usize),
    count: usize,
    /// Windows of a run.
    length: usize,
}

impl Runs {
    /// Start of each run.
    fn starts(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let Self { first, step, count, .. } = *self;
        (0..count).map(move |run| (first.0 + run * step.0, first.1 + run * step.1))
    }
}
