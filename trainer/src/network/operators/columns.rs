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
            let images = images.chunks_exact(image.max(1));
            for (image, line) in images.zip(line.chunks_exact_mut(windows)) {
                self.each_run(row, |from, to, length| {
                    let (step, to) = (self.grid.stride[1], &mut line[to..to + length]);
                    if step == 1 {
                        let from = &image[from..from + length];
                        to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
                    } else {
                        let from = image[from..].iter().step_by(step);
                        to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
                    }
                });
            }
        }
    }

    /// Adds each of the `columns` to the window of `images` that it came from.
    pub(crate) fn add_to(&self, columns: &[f32], images: &mut [f32]) {
        let (image, windows) = (self.channels * self.grid.pixels(), self.grid.windows());
        let count = images.len().checked_div(image).unwrap_or(0);
        for (row, line) in columns.chunks_exact((count * windows).max(1)).enumerate() {
            let images = images.chunks_exact_mut(image.max(1));
            for (image, line) in images.zip(line.chunks_exact(windows)) {
                self.each_run(row, |to, from, length| {
                    let step = self.grid.stride[1];
                    let from = &line[from..from + length];
                    if step == 1 {
                        let to = &mut image[to..to + length];
                        to.iter_mut().zip(from).for_each(|(to, from)| *to += *from);
                    } else {
                        let to = image[to..].iter_mut().step_by(step);
                        to.zip(from).for_each(|(to, from)| *to += *from);
                    }
                });
            }
        }
    }

    /// For each line of windows, the pixels that `row` takes of them: where the first lies in
    /// the image, the place of its window among all, and how many there are.
    fn each_run(&self, row: usize, mut each: impl FnMut(usize, usize, usize)) {
        let grid = self.grid;
        let [height, width] = grid.kernel;
        let (channel, line, column) = (row / (height * width), row / width % height, row % width);
        let plane = (self.first + channel) * grid.pixels();
        let across = grid.inside(1, column);
        if across.is_empty() {
            return;
        }
        let left = across.start * grid.stride[1] + column * grid.dilation[1] - grid.before[1];
        for window in grid.inside(0, line) {
            let above = window * grid.stride[0] + line * grid.dilation[0] - grid.before[0];
            let from = plane + above * grid.input[1] + left;
            each(from, window * grid.output[1] + across.start, across.len());
        }
    }
}
