//! The section `[schedule]` of a recipe.

use super::checks;
use crate::schedule::Schedule;
use serde::{Deserialize, Serialize};

/// Learning rate at each step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ScheduleRecipe {
    /// Initial learning rate.
    #[serde(deserialize_with = "checks::positive")]
    pub rate: f32,
    /// Stepwise decay of the rate.
    pub decay: Option<DecayRecipe>,
    /// Final rate of a cosine schedule.
    #[serde(default, deserialize_with = "checks::not_negative_if_any")]
    pub cosine: Option<f32>,
    /// Scaling for a batch larger than the one the rate was tuned for.
    pub scale: Option<ScaleRecipe>,
}

/// Stepwise decay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DecayRecipe {
    /// Epochs after which the rate falls.
    pub at_epochs: Vec<f64>,
    /// Factor applied to the rate each time.
    #[serde(deserialize_with = "checks::positive")]
    pub factor: f32,
}

/// Linear scaling (Goyal et al. 2017).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ScaleRecipe {
    /// Size of the batch relative to the one the rate was tuned for.
    #[serde(deserialize_with = "checks::positive")]
    pub factor: f32,
    /// Epochs over which the rate rises to its scaled value; 0 scales at once.
    #[serde(default = "five", deserialize_with = "checks::not_negative")]
    pub warm_up_epochs: f32,
}

fn five() -> f32 {
    5.0
}

impl ScheduleRecipe {
    /// The rate at each step, for `epoch_steps` steps an epoch and `steps` in all.
    pub fn schedule(&self, epoch_steps: u64, steps: u64) -> Schedule {
        let at = |epochs: f64| (epochs * epoch_steps as f64).round() as u64;
        let schedule = match (&self.decay, self.cosine) {
            (Some(decay), _) => {
                let at_steps: Vec<u64> = decay.at_epochs.iter().map(|epochs| at(*epochs)).collect();
                Schedule::steps(self.rate, decay.factor, at_steps)
            }
            (None, Some(last)) => Schedule::cosine(self.rate, last, steps),
            (None, None) => Schedule::constant(self.rate),
        };
        match &self.scale {
            Some(scale) if scale.warm_up_epochs > 0.0 => {
                schedule.scaled(scale.factor, at(f64::from(scale.warm_up_epochs)))
            }
            Some(scale) => schedule.scaled_at_once(scale.factor),
            None => schedule,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(text: &str, at: &[u64]) -> Vec<f32> {
        let recipe: ScheduleRecipe = toml::from_str(text).unwrap();
        let schedule = recipe.schedule(10, 100);
        at.iter().map(|step| schedule.rate(*step)).collect()
    }

    #[test]
    fn epochs_become_steps() {
        assert_eq!(rates("rate = 0.5", &[0, 99]), [0.5, 0.5]);
        let decay = "rate = 1\ndecay = { at-epochs = [3, 4.5], factor = 0.5 }";
        assert_eq!(rates(decay, &[29, 30, 44, 45]), [1.0, 0.5, 0.5, 0.25]);
        assert_eq!(rates("rate = 1\ncosine = 0", &[0, 100]), [1.0, 0.0]);
        let scale = "rate = 0.1\nscale = { factor = 16, warm-up-epochs = 2 }";
        assert_eq!(rates(scale, &[0, 20]), [0.1, 1.6]);
        assert_eq!(rates("rate = 0.1\nscale = { factor = 16, warm-up-epochs = 0 }", &[0]), [1.6]);
    }
}
