//! One run through the graph: whether it learns, and what it notes on its way.

/// One run through the graph.
#[derive(Debug, Default)]
pub(crate) struct Pass {
    /// The seed of random numbers where the run is one that learns.
    pub(crate) seed: Option<u64>,
    /// For each statistic that was seen its entry, and what it is to fall by.
    pub(crate) statistics: Vec<(usize, Vec<f32>)>,
}

impl Pass {
    /// Whether it is a run that learns: normalizations take the batch's own statistics.
    pub(crate) fn learns(&self) -> bool {
        self.seed.is_some()
    }
}

/// A seed made of the bits of numbers (FNV-1a, 64 bits): a step is a function of the batch and
/// the parameters alone, so that a job that is resumed draws what it would have drawn.
pub(crate) fn seed_of(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0xCBF2_9CE4_8422_2325, |seed, bits| (seed ^ bits).wrapping_mul(0x0100_0000_01B3))
}
