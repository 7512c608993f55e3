//! The learning rate, as a recipe says it.

use super::checks;
use crate::schedule::Schedule;
use serde::{Deserialize, Serialize};

/// The learning rate over the training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ScheduleRecipe {
    /// The rate to begin with.
    #[serde(deserialize_with = "checks::positive")]
    pub rate: f32,
    /// Where it falls at once.
    pub decay: Option<DecayRecipe>,
    /// What it comes to at the end along a cosine.
    #[serde(default, deserialize_with = "checks::not_negative_if_any")]
    pub cosine: Option<f32>,
    /// For a batch larger than the one that the rate was found for.
    pub scale: Option<ScaleRecipe>,
}

/// Where the rate falls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DecayRecipe {
    /// After so many epochs each.
    pub at_epochs: Vec<f64>,
    /// What it is multiplied with each time.
    #[serde(deserialize_with = "checks::positive")]
    pub factor: f32,
}

/// Linear scaling (Goyal et al. 2017).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ScaleRecipe {
    /// How many times as large the batch is.
    #[serde(deserialize_with = "checks::positive")]
    pub factor: f32,
    /// Epochs until the rate is that many times as high; 0 for at once.
    #[serde(default = "five", deserialize_with = "checks::not_negative")]
    pub warm_up_epochs: f32,
}

fn five() -> f32 {
    5.0
}

impl ScheduleRecipe {
    /// The rate at each step, where an epoch has `epoch_steps` and all have `steps`.
    pub fn schedule(&self, epoch_steps: u64, steps: u64) -> Schedule {
        let at = |epochs: f64| (epochs * epoch_steps as f64).round() as u64;
        let schedule = match (&self.decay, self.cosine) {
            (Some(decay), _) => {
                let places: Vec<u64> = decay.at_epochs.iter().map(|epochs| at(*epochs)).collect();
                Schedule::steps(self.rate, decay.factor, places)
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
