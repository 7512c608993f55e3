//! Helpers of the property tests.

#![allow(dead_code, reason = "each test uses a part of it")]

use proptest::prelude::*;
use skysail_kernels::{Activation, Level};

/// A generator of pseudo-random numbers (xorshift).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// Draws a number from 0 to 1.
    pub(crate) fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Draws numbers from -1 to 1.
    pub(crate) fn values(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.unit() as f32 * 2.0 - 1.0).collect()
    }
}

pub(crate) fn activations() -> impl Strategy<Value = Activation> {
    prop_oneof![
        Just(Activation::None),
        Just(Activation::Relu),
        (-1.0..1.0_f32).prop_map(|slope| Activation::LeakyRelu { slope }),
        (-2.0..0.5_f32).prop_map(|low| Activation::Clip { low, high: low + 1.0 }),
    ]
}

/// Levels of this processor.
pub(crate) fn levels() -> impl Iterator<Item = Level> {
    Level::ALL.into_iter().filter(|level| level.is_available())
}

/// A sum in double precision, and the size of its terms.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sum {
    value: f64,
    size: f64,
}

impl Sum {
    pub(crate) fn add(&mut self, term: f64) {
        self.value += term;
        self.size += term.abs();
    }

    /// Compares a kernel's result with the sum.
    pub(crate) fn check(self, activation: Activation, actual: f32, what: &dyn std::fmt::Debug) {
        let expected = f64::from(activation.of(self.value as f32));
        let error = (f64::from(actual) - expected).abs();
        assert!(error <= 1e-5 * self.size, "{what:?}: {actual}, not {expected}");
    }
}
