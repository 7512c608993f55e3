//! Products equal those of the dense matrix, for any format, level and size.

#![expect(clippy::unwrap_used, reason = "a test panics")]

mod support;

use proptest::prelude::*;
use skysail_kernels::{Activation, Finish, Formats, Scratch, Serial, SparseMatrix, SparseWeights};
use support::{Random, Sum, activations, levels};

/// A matrix and its inputs.
#[derive(Debug, Clone)]
struct Case {
    outputs: usize,
    inputs: usize,
    batch: usize,
    codebook: usize,
    density: f64,
    bias: bool,
    activation: Activation,
    /// True if some outputs and inputs have many more weights than others.
    skewed: bool,
    seed: u64,
}

fn cases() -> impl Strategy<Value = Case> {
    // Few rows have kernels of their own, and so have up to four halves of lines.
    let batches = prop_oneof![1_usize..4, 4_usize..35, 35_usize..131];
    let sizes = (1_usize..300, 1_usize..600, batches);
    let values = (prop_oneof![1_usize..40, 40_usize..300], 0.0..1.0_f64, any::<bool>());
    let finish = (any::<bool>(), activations());
    let density = |d: f64| if d < 0.05 { 0.0 } else { (d * d * 1.2).min(1.0) };
    (sizes, values, finish, any::<u64>()).prop_map(move |(sizes, values, finish, seed)| {
        let (outputs, inputs, batch) = sizes;
        let (codebook, d, skewed) = values;
        let (bias, activation) = finish;
        let density = density(d);
        Case { outputs, inputs, batch, codebook, density, bias, activation, skewed, seed }
    })
}

impl Case {
    fn entries(&self, random: &mut Random) -> Vec<(u32, u32, u16)> {
        let mut entries = Vec::new();
        for output in 0..self.outputs {
            for input in 0..self.inputs {
                let rich = output % 7 == 0 || input < self.inputs / 8;
                let density = if self.skewed && !rich { self.density / 8.0 } else { self.density };
                if random.unit() < density {
                    let code = (random.unit() * self.codebook as f64) as u16;
                    entries.push((output as u32, input as u32, code));
                }
            }
        }
        entries
    }

    fn check(&self) {
        let mut random = Random::new(self.seed);
        let codebook = random.values(self.codebook);
        let entries = self.entries(&mut random);
        let weights = entries.iter().copied();
        let weights = SparseWeights::coded(self.outputs, self.inputs, &codebook, weights).unwrap();
        let x = random.values(self.batch * self.inputs);
        let bias = self.bias.then(|| random.values(self.outputs));
        let mut expected = vec![Sum::default(); self.batch * self.outputs];
        for (row, expected) in expected.chunks_mut(self.outputs).enumerate() {
            for (sum, bias) in expected.iter_mut().zip(bias.iter().flatten()) {
                sum.add(f64::from(*bias));
            }
            for &(output, input, code) in &entries {
                let x = x[row * self.inputs + input as usize];
                let weight = codebook[usize::from(code)];
                expected[output as usize].add(f64::from(weight) * f64::from(x));
            }
        }
        let finish = Finish { bias: bias.as_deref(), activation: self.activation };
        let mut scratch = Scratch::default();
        for level in levels() {
            for formats in [Formats::Few, Formats::Many, Formats::Both] {
                let matrix = SparseMatrix::at_level(&weights, formats, level);
                let mut y = vec![f32::NAN; expected.len()];
                matrix.multiply(&x, &mut y, finish, &mut scratch, &Serial).unwrap();
                for (at, (y, expected)) in y.iter().zip(&expected).enumerate() {
                    expected.check(self.activation, *y, &(level, formats, at));
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn sparse_products_equal_dense_ones(case in cases()) {
        case.check();
    }
}
