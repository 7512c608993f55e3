//! Products of bytes are exact products of the codes at every level and size, and rows are
//! independent.

#![expect(clippy::unwrap_used, reason = "a test panics")]

mod support;

use skysail_kernels::{Activation, Finish, Int8Matrix, KernelError, Level, Scratch, Serial};
use support::{Random, levels};

/// A matrix and its parts.
struct Case {
    inputs: usize,
    outputs: usize,
    codes: Vec<i8>,
    scales: Vec<f32>,
}

impl Case {
    fn new(inputs: usize, outputs: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let code = |value: f32| (value * 127.99) as i8;
        let codes = random.values(inputs * outputs).into_iter().map(code).collect();
        let scales = random.values(outputs).into_iter().map(|scale| scale.abs() + 0.01).collect();
        Self { inputs, outputs, codes, scales }
    }

    fn at(&self, level: Level) -> Int8Matrix {
        let Self { inputs, outputs, codes, scales } = self;
        Int8Matrix::at_level(codes, *inputs, *outputs, scales, level).unwrap()
    }

    /// Product by the formula, in double precision.
    fn expected(&self, x: &[f32]) -> Vec<f64> {
        let row = |x: &[f32]| {
            let high = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let low = x.iter().copied().fold(f32::INFINITY, f32::min);
            let center = 0.5 * high + 0.5 * low;
            let farther = (high - center).max(center - low);
            let step = (farther * (1.0 / 127.0)).max(f32::MIN_POSITIVE);
            let inverse = 1.0 / step;
            let code = |value: &f32| f64::from(((value - center) * inverse).round_ties_even());
            let back: Vec<f64> =
                x.iter().map(|v| f64::from(center) + f64::from(step) * code(v)).collect();
            let output = |output: usize| {
                let terms = back
                    .iter()
                    .enumerate()
                    .map(|(input, x)| x * f64::from(self.codes[input * self.outputs + output]));
                terms.sum::<f64>() * f64::from(self.scales[output])
            };
            (0..self.outputs).map(output).collect::<Vec<f64>>()
        };
        x.chunks(self.inputs).flat_map(row).collect()
    }

    fn multiply(&self, level: Level, x: &[f32], finish: Finish<'_>) -> Vec<f32> {
        let matrix = self.at(level);
        let mut y = vec![f32::NAN; x.len() / self.inputs * self.outputs];
        matrix.multiply(x, &mut y, finish, &mut Scratch::default(), &Serial).unwrap();
        y
    }
}

#[test]
fn every_level_multiplies_the_codes_exactly() {
    let sizes = [(1, 1, 1), (3, 5, 2), (4, 16, 7), (17, 33, 13), (64, 48, 6), (130, 100, 251)];
    for (inputs, outputs, rows) in sizes {
        let case = Case::new(inputs, outputs, (inputs * outputs) as u64);
        let mut random = Random::new(7);
        let x = random.values(rows * inputs);
        let expected = case.expected(&x);
        let bias = random.values(outputs);
        for level in levels() {
            let plain = case.multiply(level, &x, Finish::default());
            for (place, (found, expected)) in plain.iter().zip(&expected).enumerate() {
                let apart = (f64::from(*found) - expected).abs();
                let limit = 1e-4 * inputs as f64;
                assert!(apart <= limit, "{level} {inputs}x{outputs} {place}: {found} {expected}");
            }
            let finish = Finish { bias: Some(&bias), activation: Activation::Relu };
            let finished = case.multiply(level, &x, finish);
            for (place, (found, plain)) in finished.iter().zip(&plain).enumerate() {
                let wanted = (plain + bias[place % outputs]).max(0.0);
                assert!((found - wanted).abs() <= 1e-4 * wanted.abs().max(1.0), "{level}");
            }
        }
    }
}

#[test]
fn sums_of_the_largest_products_do_not_saturate() {
    // Two products of 255 and 127 overflow 16 bits.
    let (inputs, outputs) = (256, 16);
    let case = Case { inputs, outputs, codes: vec![127; 4096], scales: vec![1.0; 16] };
    let mut x = vec![1.0_f32; inputs];
    x[0] = -1.0;
    let expected = 254.0 * 127.0;
    for level in levels() {
        for y in case.multiply(level, &x, Finish::default()) {
            assert!((y - expected).abs() <= expected * 1e-6, "{level}: {y}");
        }
    }
}

#[test]
fn a_row_has_the_same_product_alone_and_in_a_batch() {
    let case = Case::new(48, 40, 3);
    let mut random = Random::new(9);
    for level in levels() {
        let row = random.values(48);
        let alone = case.multiply(level, &row, Finish::default());
        for neighbour in [0.0, 1e9, -1e-30, f32::NAN, f32::INFINITY] {
            for place in 0..9 {
                let mut x = vec![neighbour; 48 * 9];
                x[place * 48..(place + 1) * 48].copy_from_slice(&row);
                let together = case.multiply(level, &x, Finish::default());
                assert_eq!(together[place * 40..(place + 1) * 40], alone, "{level} {neighbour}");
                let other = (place + 1) % 9 * 40;
                assert_eq!(together[other].is_nan(), !neighbour.is_finite(), "{level} {neighbour}");
            }
        }
        let zeros = case.multiply(level, &[0.0; 48], Finish::default());
        assert!(zeros.iter().all(|value| *value == 0.0), "{level}");
    }
}

#[test]
fn sizes_are_checked() {
    let new = |codes: &[i8], inputs, outputs, scales: &[f32]| {
        Int8Matrix::new(codes, inputs, outputs, scales).err()
    };
    assert!(matches!(new(&[], 0, 1, &[1.0]), Some(KernelError::Size { .. })));
    assert!(matches!(new(&[], 1, 0, &[]), Some(KernelError::Size { .. })));
    assert!(matches!(new(&[], 1 << 16, 1, &[1.0]), Some(KernelError::Size { .. })));
    assert!(matches!(new(&[1], 2, 1, &[1.0]), Some(KernelError::Length { .. })));
    assert!(matches!(new(&[1], 1, 1, &[]), Some(KernelError::Length { .. })));
    let matrix = Int8Matrix::new(&[1, 2], 2, 1, &[1.0]).unwrap();
    let mut scratch = Scratch::default();
    let mut multiply = |x: &[f32], y: &mut [f32], bias: Option<&[f32]>| {
        let finish = Finish { bias, ..Finish::default() };
        matrix.multiply(x, y, finish, &mut scratch, &Serial)
    };
    assert!(multiply(&[1.0; 3], &mut [0.0; 1], None).is_err());
    assert!(multiply(&[1.0; 4], &mut [0.0; 1], None).is_err());
    assert!(multiply(&[1.0; 4], &mut [0.0; 2], Some(&[0.0; 2])).is_err());
    assert!(multiply(&[], &mut [], None).is_ok());
    assert!(multiply(&[1.0; 4], &mut [0.0; 2], Some(&[0.0])).is_ok());
}
