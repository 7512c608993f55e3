//! Products equal those of the dense matrix, whatever the format, the level and the sizes.

use proptest::prelude::*;
use skysail_kernels::{
    Activation, Finish, Formats, Level, Scratch, Serial, SparseMatrix, SparseWeights,
};

/// A matrix to be multiplied, and what it is multiplied by.
#[derive(Debug, Clone)]
struct Case {
    outputs: usize,
    inputs: usize,
    batch: usize,
    codebook: usize,
    density: f64,
    /// Some outputs and inputs have many more weights than others.
    skewed: bool,
    seed: u64,
}

fn cases() -> impl Strategy<Value = Case> {
    let sizes = (1_usize..300, 1_usize..600, 1_usize..70);
    let values = (prop_oneof![1_usize..40, 40_usize..300], 0.0..1.0_f64, any::<bool>());
    let density = |d: f64| if d < 0.05 { 0.0 } else { (d * d * 1.2).min(1.0) };
    (sizes, values, any::<u64>()).prop_map(move |((outputs, inputs, batch), values, seed)| {
        let (codebook, d, skewed) = values;
        Case { outputs, inputs, batch, codebook, density: density(d), skewed, seed }
    })
}

/// A generator of numbers that look random (xorshift).
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, end: usize) -> usize {
        (self.unit() * end as f64) as usize
    }

    fn values(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.unit() as f32 * 2.0 - 1.0).collect()
    }
}

impl Case {
    fn entries(&self, random: &mut Random) -> Vec<(u32, u32, u16)> {
        let mut entries = Vec::new();
        for output in 0..self.outputs {
            for input in 0..self.inputs {
                let rich = output % 7 == 0 || input < self.inputs / 8;
                let density = if self.skewed && !rich { self.density / 8.0 } else { self.density };
                if random.unit() < density {
                    let code = random.below(self.codebook) as u16;
                    entries.push((output as u32, input as u32, code));
                }
            }
        }
        entries
    }

    fn check(&self) {
        let mut random = Random(self.seed | 1);
        let codebook = random.values(self.codebook);
        let entries = self.entries(&mut random);
        let weights = entries.iter().copied();
        let weights = SparseWeights::coded(self.outputs, self.inputs, &codebook, weights).unwrap();
        let x = random.values(self.batch * self.inputs);
        let bias = random.values(self.outputs);
        let mut expected = vec![0.0_f64; self.batch * self.outputs];
        let mut scale = expected.clone();
        for row in 0..self.batch {
            let y = row * self.outputs;
            for (output, bias) in bias.iter().enumerate() {
                expected[y + output] = f64::from(*bias);
                scale[y + output] = f64::from(bias.abs());
            }
            for &(output, input, code) in &entries {
                let x = x[row * self.inputs + input as usize];
                let product = f64::from(codebook[usize::from(code)]) * f64::from(x);
                expected[y + output as usize] += product;
                scale[y + output as usize] += product.abs();
            }
        }
        let mut scratch = Scratch::default();
        for level in Level::ALL.into_iter().filter(|level| level.is_available()) {
            for formats in [Formats::Few, Formats::Many, Formats::Both] {
                let matrix = SparseMatrix::at_level(&weights, formats, level);
                let mut y = vec![f32::NAN; expected.len()];
                let finish = Finish { bias: Some(&bias), activation: Activation::Relu };
                matrix.multiply(&x, &mut y, finish, &mut scratch, &Serial).unwrap();
                for ((y, expected), scale) in y.iter().zip(&expected).zip(&scale) {
                    let error = (f64::from(*y) - expected.max(0.0)).abs();
                    assert!(error <= 1e-5 * scale, "{level} {formats:?}: {y} not {expected}");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn equal_those_of_the_dense_matrix(case in cases()) {
        case.check();
    }
}
