//! Pooling: `MaxPool`, `AveragePool`, and global pools.

use super::matrix::reshaped;
use super::window::{Grid, Windows};
use crate::network::floats::{Dense, Function, dims, record, tensor};
use crate::network::operator::{CompileError, Inputs, NodeContext, Operator};
use crate::network::pass::Pass;
use crate::network::value::Value;
use burn_flex::FlexTensor;
use rayon::prelude::*;

/// Planes per parallel task.
const PLANES: usize = 16;

#[derive(Debug)]
struct Pool {
    /// `None` for one window over the whole image.
    windows: Option<Windows>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Max,
    Average { counts_padding: bool },
}

pub(crate) fn max(context: &NodeContext<'_>) -> Result<Box<dyn Operator>, CompileError> {
    if context.node.outputs().get(1).is_some_and(|name| !name.is_empty()) {
        return Err("with indices as output is not supported".to_owned().into());
    }
    Ok(Box::new(Pool { windows: Some(Windows::of(context)?), kind: Kind::Max }))
}

pub(crate) fn average(context: &NodeContext<'_>) -> Result<Box<dyn Operator>, CompileError> {
    let counts_padding = context.int("count_include_pad", 0)? != 0;
    let kind = Kind::Average { counts_padding };
    Ok(Box::new(Pool { windows: Some(Windows::of(context)?), kind }))
}

pub(crate) fn global_average(_: &NodeContext<'_>) -> Result<Box<dyn Operator>, CompileError> {
    let kind = Kind::Average { counts_padding: false };
    Ok(Box::new(Pool { windows: None, kind }))
}

pub(crate) fn global_max(_: &NodeContext<'_>) -> Result<Box<dyn Operator>, CompileError> {
    Ok(Box::new(Pool { windows: None, kind: Kind::Max }))
}

impl Operator for Pool {
    fn run(&self, inputs: &Inputs, _: &mut Pass) -> Result<Vec<Value>, String> {
        let x = inputs.floats(0)?;
        let shape = dims(x);
        if !(3..=4).contains(&shape.len()) {
            return Err(format!("requires images of one or two dimensions, not shape {shape:?}"));
        }
        let grid = match &self.windows {
            Some(windows) => windows.over(&shape[2..], None)?,
            None => whole(&shape[2..])?,
        };
        let mut result_shape = shape[..2].to_vec();
        result_shape.extend(&grid.output[4 - shape.len()..]);
        let values = Dense::of(x.primitive());
        let result = match self.kind {
            Kind::Max => {
                let (result, sources) = maxima(&grid, values.values());
                let result = tensor(&result_shape, result);
                record([x], MaxPool { shape, grid, sources: sources.into() }, result)
            }
            Kind::Average { counts_padding } => {
                let pool = AveragePool { shape, grid, counts_padding };
                let result = tensor(&result_shape, pool.forward(values.values()));
                record([x], pool, result)
            }
        };
        Ok(vec![Value::Floats(reshaped(&result, result_shape))])
    }
}

/// A single window, as large as the image.
fn whole(image: &[usize]) -> Result<Grid, String> {
    let input = [if image.len() == 2 { image[0] } else { 1 }, image[image.len() - 1]];
    if input.contains(&0) {
        return Err("does not accept empty images".to_owned());
    }
    let (ones, zeros) = ([1; 2], [0; 2]);
    Ok(Grid {
        input,
        kernel: input,
        output: ones,
        stride: ones,
        dilation: ones,
        before: zeros,
        after: zeros,
    })
}

/// The largest pixel of each window, and its index in the plane.
fn maxima(grid: &Grid, x: &[f32]) -> (Vec<f32>, Vec<u32>) {
    let (pixels, windows) = (grid.pixels().max(1), grid.windows().max(1));
    let planes = x.len() / pixels;
    let mut result = vec![f32::NEG_INFINITY; planes * grid.windows()];
    let mut sources = vec![0_u32; planes * grid.windows()];
    let found =
        result.par_chunks_mut(windows * PLANES).zip(sources.par_chunks_mut(windows * PLANES));
    x.par_chunks(pixels * PLANES).zip(found).for_each(|(x, (result, sources))| {
        let found = result.chunks_exact_mut(windows).zip(sources.chunks_exact_mut(windows));
        for (plane, (result, sources)) in x.chunks_exact(pixels).zip(found) {
            if grid.is_2x2() {
                maxima_2x2(grid, plane, result, sources);
                continue;
            }
            for pixel in 0..grid.window_pixels() {
                maxima_of_pixel(grid, pixel, plane, result, sources);
            }
        }
    });
    (result, sources)
}

/// Returns true if `value` replaces the largest so far. NaN does, so that it is noticed.
fn is_larger(value: f32, best: f32) -> bool {
    (value > best) | value.is_nan()
}

/// Pixels of a line that are compared at a time.
const LINE: usize = 64;

/// Pools adjacent windows of 2 × 2, the most common ones. Pixels are first compared with those
/// below them, in vectorized loops without branches, as half of the branches would be mispredicted.
fn maxima_2x2(grid: &Grid, plane: &[f32], result: &mut [f32], sources: &mut [u32]) {
    let width = grid.input[1];
    let lines = plane.chunks_exact(2 * width).enumerate();
    let found =
        result.chunks_exact_mut(grid.output[1]).zip(sources.chunks_exact_mut(grid.output[1]));
    for ((position, lines), (result, sources)) in lines.zip(found) {
        let (above, below) = lines.split_at(width);
        let first = (position * 2 * width) as u32;
        let found = result.chunks_mut(LINE / 2).zip(sources.chunks_mut(LINE / 2));
        let pixels = above.chunks(LINE).zip(below.chunks(LINE));
        for ((part, (above, below)), (result, sources)) in pixels.enumerate().zip(found) {
            let first = first + (part * LINE) as u32;
            let (mut best, mut positions) = ([0.0; LINE], [0; LINE]);
            let kept = best.iter_mut().zip(&mut positions);
            for (column, ((upper, lower), (best, source))) in
                above.iter().zip(below).zip(kept).enumerate()
            {
                let position = first + column as u32;
                let is_larger = is_larger(*lower, *upper);
                *best = if is_larger { *lower } else { *upper };
                *source = if is_larger { position + width as u32 } else { position };
            }
            let pairs = best.as_chunks::<2>().0.iter().zip(positions.as_chunks::<2>().0);
            let found = result.iter_mut().zip(sources);
            for ((best, positions), (value, source)) in pairs.zip(found) {
                let is_larger = is_larger(best[1], best[0]);
                *value = if is_larger { best[1] } else { best[0] };
                *source = if is_larger { positions[1] } else { positions[0] };
            }
        }
    }
}

/// Compares one pixel of each window with the largest so far.
fn maxima_of_pixel(
    grid: &Grid,
    pixel: usize,
    plane: &[f32],
    result: &mut [f32],
    sources: &mut [u32],
) {
    let (line, column) = (pixel / grid.kernel[1], pixel % grid.kernel[1]);
    let (across, step) = (grid.inside(1, column), grid.stride[1]);
    if across.is_empty() {
        return;
    }
    let left = across.start * step + column * grid.dilation[1] - grid.before[1];
    for window in grid.inside(0, line) {
        let above = window * grid.stride[0] + line * grid.dilation[0] - grid.before[0];
        let first = above * grid.input[1] + left;
        let line = window * grid.output[1];
        let result = result[line..][across.clone()].iter_mut();
        let found = result.zip(&mut sources[line..][across.clone()]);
        for (position, (value, (best, source))) in
            plane[first..].iter().step_by(step).zip(found).enumerate()
        {
            if is_larger(*value, *best) {
                (*best, *source) = (*value, (first + position * step) as u32);
            }
        }
    }
}

#[derive(Debug, Clone)]
struct MaxPool {
    shape: Vec<usize>,
    grid: Grid,
    sources: std::sync::Arc<[u32]>,
}

impl Function<1> for MaxPool {
    fn gradients(self, gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let gradient = Dense::of(&gradient);
        let mut result = vec![0.0; self.shape.iter().product()];
        let (pixels, windows) = (self.grid.pixels().max(1), self.grid.windows().max(1));
        let from = gradient.values().par_chunks(windows * PLANES);
        let from = from.zip(self.sources.par_chunks(windows * PLANES));
        result.par_chunks_mut(pixels * PLANES).zip(from).for_each(|(result, (values, sources))| {
            let from = values.chunks_exact(windows).zip(sources.chunks_exact(windows));
            for (result, (values, sources)) in result.chunks_exact_mut(pixels).zip(from) {
                for (value, source) in values.iter().zip(sources) {
                    result[*source as usize] += value;
                }
            }
        });
        [Some(tensor(&self.shape, result))]
    }
}

#[derive(Debug, Clone)]
struct AveragePool {
    shape: Vec<usize>,
    grid: Grid,
    counts_padding: bool,
}

impl AveragePool {
    fn forward(&self, x: &[f32]) -> Vec<f32> {
        let planes = x.len().checked_div(self.grid.pixels()).unwrap_or(0);
        let mut result = vec![0.0; planes * self.grid.windows()];
        let (pixels, windows) = (self.grid.pixels().max(1), self.grid.windows().max(1));
        for (plane, result) in x.chunks_exact(pixels).zip(result.chunks_exact_mut(windows)) {
            self.each_window(|window, pixels, share| {
                let sum: f32 = pixels.iter().map(|pixel| plane[*pixel]).sum();
                result[window] = sum * share;
            });
        }
        result
    }

    /// Calls `each` with each window, its pixels in the image, and the weight of a pixel.
    fn each_window(&self, mut each: impl FnMut(usize, &[usize], f32)) {
        let grid = &self.grid;
        let mut pixels = Vec::with_capacity(grid.window_pixels());
        for window in 0..grid.windows() {
            let (line, column) = (window / grid.output[1], window % grid.output[1]);
            pixels.clear();
            let mut padded = 0;
            for pixel in 0..grid.window_pixels() {
                let inside = [pixel / grid.kernel[1], pixel % grid.kernel[1]];
                padded += usize::from(self.is_padded(line, column, inside));
                let positions =
                    (grid.source(0, line, inside[0]), grid.source(1, column, inside[1]));
                if let (Some(above), Some(left)) = positions {
                    pixels.push(above * grid.input[1] + left);
                }
            }
            let count = if self.counts_padding { padded } else { pixels.len() };
            each(window, &pixels, 1.0 / count.max(1) as f32);
        }
    }

    /// Returns true if a window's pixel lies in the image or its padding. Rounded-up sizes have
    /// windows that reach further.
    fn is_padded(&self, line: usize, column: usize, inside: [usize; 2]) -> bool {
        let grid = &self.grid;
        [line, column].iter().enumerate().all(|(axis, window)| {
            let position = window * grid.stride[axis] + inside[axis] * grid.dilation[axis];
            position < grid.input[axis] + grid.before[axis] + grid.after[axis]
        })
    }
}

impl Function<1> for AveragePool {
    fn gradients(self, gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let gradient = Dense::of(&gradient);
        let mut result = vec![0.0; self.shape.iter().product()];
        let (pixels, windows) = (self.grid.pixels().max(1), self.grid.windows().max(1));
        let pairs = result.chunks_exact_mut(pixels).zip(gradient.values().chunks_exact(windows));
        for (result, gradient) in pairs {
            self.each_window(|window, pixels, share| {
                pixels.iter().for_each(|pixel| result[*pixel] += gradient[window] * share);
            });
        }
        [Some(tensor(&self.shape, result))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_of_2x2_are_pooled_like_all_windows() {
        for [height, width] in [[2, 2], [5, 7], [6, 64], [4, 131]] {
            let input = [height, width];
            let (output, two) = (input.map(|size| size / 2), [2; 2]);
            let (stride, dilation, before, after) = (two, [1; 2], [0; 2], [0; 2]);
            let grid = Grid { input, kernel: two, output, stride, dilation, before, after };
            assert!(grid.is_2x2());
            let plane: Vec<f32> = (0..grid.pixels()).map(|at| (at * 37 % 101) as f32).collect();
            let empty = || (vec![f32::NEG_INFINITY; grid.windows()], vec![0; grid.windows()]);
            let (mut result, mut sources) = empty();
            maxima_2x2(&grid, &plane, &mut result, &mut sources);
            let (mut wanted, mut wanted_sources) = empty();
            for pixel in 0..grid.window_pixels() {
                maxima_of_pixel(&grid, pixel, &plane, &mut wanted, &mut wanted_sources);
            }
            assert_eq!((result, sources), (wanted, wanted_sources), "{input:?}");
        }
    }
}
