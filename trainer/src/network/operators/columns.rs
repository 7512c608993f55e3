//! Images as columns: each window of an image becomes a column of a matrix, so that a
//! convolution is a product of matrices (Chellapilla, Puri and Simard, IWFHR 2006).

use super::window::Grid;

/// Some channels of some images, as columns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Columns<'a> {
    /// How windows lie over an image.
    pub(crate) grid: &'a Grid,
    /// Channels of an image.
    pub(crate) channels: usize,
    /// The channels that are taken.
    pub(crate) first: usize,
    /// How many are taken.
    pub(crate) taken: usize,
}

impl Columns<'_> {
    /// Rows of the matrix: a pixel of the window in a channel each.
    pub(crate) fn rows(&self) -> usize {
        self.taken * self.grid.window_pixels()
    }

    /// Puts the windows of `images`, which lie one after another with all their channels, into
    /// a matrix of [`rows`](Self::rows) × images · windows.
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
                for (from, to) in runs.places() {
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

    /// Adds each of the `columns` to the window of `images` that it came from.
    pub(crate) fn add_to(&self, columns: &[f32], images: &mut [f32]) {
        let (image, windows) = (self.channels * self.grid.pixels(), self.grid.windows());
        let count = images.len().checked_div(image).unwrap_or(0);
        for (row, line) in columns.chunks_exact((count * windows).max(1)).enumerate() {
            let runs = self.runs(row);
            let images = images.chunks_exact_mut(image.max(1));
            for (image, line) in images.zip(line.chunks_exact(windows)) {
                for (to, from) in runs.places() {
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

    /// The pixels that `row` takes of each line of windows.
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

/// Runs of pixels, one of each line of windows. Pairs are of a pixel's place in the image, and of
/// its window's among all.
#[derive(Debug, Default)]
struct Runs {
    first: (usize, usize),
    /// To the next run.
    step: (usize, usize),
    count: usize,
    /// How many windows a run has.
    length: usize,
}

impl Runs {
    /// Where each begins.
    fn places(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let Self { first, step, count, .. } = *self;
        (0..count).map(move |run| (first.0 + run * step.0, first.1 + run * step.1))
    }
}
