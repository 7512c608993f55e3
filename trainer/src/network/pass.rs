//! State of one run of the graph.

/// State of one run of the graph.
#[derive(Debug, Default)]
pub(crate) struct Pass {
    /// Seed of random numbers; set in training.
    pub(crate) seed: Option<u64>,
    /// Layout entries of observed statistics, and the amounts to subtract from them.
    pub(crate) statistics: Vec<(usize, Vec<f32>)>,
}

impl Pass {
    /// Returns true in training: normalizations use the batch's own statistics.
    pub(crate) fn is_training(&self) -> bool {
        self.seed.is_some()
    }
}

/// Derives a seed from the bits of numbers (FNV-1a, 64 bits). A step depends on the batch and the
/// parameters only, so that a resumed job draws the same random numbers.
pub(crate) fn seed_of(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0xCBF2_9CE4_8422_2325, |seed, bits| (seed ^ bits).wrapping_mul(0x0100_0000_01B3))
}
