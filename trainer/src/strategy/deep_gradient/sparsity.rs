//! Schedule of the sparsity.

/// Share of the gradients held back at each step: rises from stage to stage, then stays.
#[derive(Debug, Clone, PartialEq)]
pub struct Sparsity {
    /// Sparsity of each stage of the warm-up, from 0 to below 1.
    pub stages: Vec<f64>,
    /// Steps of a stage; one epoch in the paper.
    pub stage_steps: u64,
    /// Sparsity after the warm-up.
    pub last: f64,
}

impl Default for Sparsity {
    /// Sparsity of the paper (Lin et al. 2018, section 3.3, "warm-up training"). It has no warm-up,
    /// whose stages depend on the data.
    fn default() -> Self {
        Self::constant(0.999)
    }
}

impl Sparsity {
    /// The same sparsity at each step.
    pub fn constant(last: f64) -> Self {
        Self { stages: Vec::new(), stage_steps: 0, last }
    }

    /// Schedule of the paper: 75%, 93.75%, 98.4375% and 99.6% for an epoch each, then 99.9%.
    pub fn warmed_up(epoch_steps: u64) -> Self {
        let stages = vec![0.75, 0.9375, 0.984375, 0.996];
        Self { stages, stage_steps: epoch_steps, last: 0.999 }
    }

    /// Sparsity at a step, from 0.
    pub fn at(&self, step: u64) -> f64 {
        let stage =
            step.checked_div(self.stage_steps).and_then(|stage| usize::try_from(stage).ok());
        let sparsity = stage.and_then(|stage| self.stages.get(stage)).unwrap_or(&self.last);
        sparsity.clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sparsity_rises_from_epoch_to_epoch() {
        let sparsity = Sparsity::warmed_up(10);
        let seen: Vec<_> = [0, 9, 10, 29, 39, 40, 1000].map(|step| sparsity.at(step)).into();
        assert_eq!(seen, [0.75, 0.75, 0.9375, 0.984375, 0.996, 0.999, 0.999]);
        assert_eq!(Sparsity::constant(0.5).at(7), 0.5);
    }
}
