//! Data augmentation.

use crate::batch::{Input, Values};
use crate::random::Random;

/// Shifts each image randomly, and fills vacated pixels with the value of an empty one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shift {
    /// Largest shift in pixels, in each direction.
    pub pixels: usize,
    /// Value of an empty pixel.
    pub empty: f32,
}

impl Shift {
    /// Shifts the images of a batch, whose last two dimensions are height and width. Inputs without
    /// these dimensions, and indices, stay unchanged. The shift depends on `seed` and the row only.
    pub fn apply(&self, input: &mut Input, rows: &[u32], seed: &[u64]) {
        let (&[_, .., height, width], Values::Float32(values)) =
            (&input.shape[..], &mut input.values)
        else {
            return;
        };
        let size = values.len().checked_div(rows.len()).unwrap_or(0);
        if size == 0 || height * width == 0 {
            return;
        }
        for (row, image) in rows.iter().zip(values.chunks_exact_mut(size)) {
            let mut random = Random::of(&[&[u64::from(*row)], seed].concat());
            let mut by =
                || random.below(2 * self.pixels + 1).cast_signed() - self.pixels.cast_signed();
            let (down, right) = (by(), by());
            for plane in image.chunks_exact_mut(height * width) {
                let old = plane.to_vec();
                for (index, pixel) in plane.iter_mut().enumerate() {
                    let from = |at: usize, by: isize, size: usize| {
                        at.checked_add_signed(-by).filter(|at| *at < size)
                    };
                    let (y, x) = (index / width, index % width);
                    let found = from(y, down, height).zip(from(x, right, width));
                    *pixel = found.map_or(self.empty, |(y, x)| old[y * width + x]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_shifted_as_a_whole() {
        let mut image = vec![0.5; 2 * 49];
        image[24] = 1.0;
        image[49 + 24] = 2.0;
        let input = Input { shape: vec![1, 2, 7, 7], values: Values::Float32(image) };
        let shift = Shift { pixels: 2, empty: 0.5 };
        let mut seen = std::collections::BTreeSet::new();
        for epoch in 0..200 {
            let mut moved = input.clone();
            shift.apply(&mut moved, &[3], &[1, epoch]);
            let Values::Float32(values) = &moved.values else { panic!("pixels are numbers") };
            let at = values.iter().position(|value| *value == 1.0).unwrap();
            assert_eq!(values[49 + at], 2.0);
            assert_eq!(values.iter().filter(|value| **value == 0.5).count(), 96);
            seen.insert(at);
            let mut again = input.clone();
            shift.apply(&mut again, &[3], &[1, epoch]);
            assert_eq!(moved, again);
        }
        assert_eq!(seen.len(), 25, "all shifts of up to two pixels");
    }

    #[test]
    fn inputs_that_are_not_images_stay_unchanged() {
        let tokens = Input { shape: vec![2, 3], values: Values::Int64(vec![1; 6]) };
        let mut same = tokens.clone();
        Shift { pixels: 3, empty: 0.0 }.apply(&mut same, &[0, 1], &[0]);
        assert_eq!(same, tokens);
        let mut flat = Input { shape: vec![2, 0], values: Values::Float32(vec![]) };
        Shift { pixels: 3, empty: 0.0 }.apply(&mut flat, &[0, 1], &[0]);
    }
}
