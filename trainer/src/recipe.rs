//! Recipes: a training in a file of TOML. Errors name the line and the key.

mod checks;
mod compress;
mod model;
mod overrides;
mod prepare;
mod schedule;
mod strategy;

use crate::data::{Scaling, Shift, Source};
pub use compress::{CompressRecipe, DistillRecipe, LayersRecipe, PhaseRecipe, StartRecipe};
pub use model::{ModelRecipe, ResNetRecipe, TransformerRecipe};
pub use prepare::{Prepared, Surroundings};
pub use schedule::{DecayRecipe, ScaleRecipe, ScheduleRecipe};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;
pub use strategy::{
    ClientsRecipe, DeepGradientRecipe, DownpourRecipe, FederatedRecipe, LocalRecipe,
    OptimizerRecipe, StalenessRecipe, StrategyRecipe, SynchronousRecipe,
};

/// The most bytes of a recipe.
const BYTES_MAX: u64 = 1 << 20;
/// Longer than anyone waits: eleven days.
const DEADLINE_SECONDS_MAX: f32 = 1e6;

/// What is wrong with a recipe, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RecipeError(pub String);

/// A training, as one says it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Recipe {
    /// What it is called; the name of its file where it does not say.
    #[serde(default)]
    pub name: String,
    /// What all that is random comes from.
    #[serde(default = "one_u64")]
    pub seed: u64,
    /// Ranks, where none are given by who starts it.
    #[serde(default = "one", deserialize_with = "checks::one_or_more")]
    pub ranks: usize,
    /// How often all data are seen; of federated averaging, how many rounds there are.
    pub epochs: Option<u64>,
    /// How many steps are taken, if that ends it earlier.
    pub steps: Option<u64>,
    /// Examples of a step over all ranks; of federated averaging, of a client's step.
    #[serde(deserialize_with = "checks::one_or_more")]
    pub batch: usize,
    /// What is trained.
    pub model: ModelRecipe,
    /// What with.
    pub data: Source,
    /// What is done to the data.
    #[serde(default)]
    pub prepare: PrepareRecipe,
    /// How ranks work together.
    #[serde(default)]
    pub strategy: StrategyRecipe,
    /// How gradients move parameters.
    #[serde(default)]
    pub optimizer: OptimizerRecipe,
    /// The learning rate.
    pub schedule: ScheduleRecipe,
    /// What is to be reached.
    #[serde(default)]
    pub target: TargetRecipe,
    /// How the trained model is compressed, if it is.
    pub compress: Option<CompressRecipe>,
    /// Where results go, from where one is; `runs` and the name where it does not say.
    pub output: Option<PathBuf>,
    /// A checkpoint is written every so many steps, as well as after each epoch.
    pub checkpoint_steps: Option<u64>,
    /// How long a rank waits for the others, in seconds.
    #[serde(default = "deadline", deserialize_with = "checks::positive")]
    pub deadline_seconds: f32,
    /// Where files are looked for: beside the recipe.
    #[serde(skip)]
    pub folder: PathBuf,
}

/// What is done to the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct PrepareRecipe {
    /// Taken from each number of the inputs, as the source gives them: pixels from 0 to 1.
    #[serde(deserialize_with = "checks::finite")]
    pub mean: f32,
    /// What each is divided by then.
    #[serde(deserialize_with = "checks::positive")]
    pub deviation: f32,
    /// Images to learn from are shifted by up to so many pixels either way.
    pub shift: usize,
    /// The share of the examples to test with, where the source says of none.
    #[serde(deserialize_with = "checks::share")]
    pub hold_out: f64,
    /// The share of the examples to learn from that is kept out of it, for compression to go by.
    /// With 0 it goes by the test, whose accuracy then flatters a little.
    #[serde(deserialize_with = "checks::share")]
    pub validation: f64,
}

/// What is to be reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct TargetRecipe {
    /// The share of the test that is to be classified right.
    pub accuracy: Option<f32>,
    /// Whether training ends as soon as that is reached.
    pub stop: bool,
}

impl Default for PrepareRecipe {
    fn default() -> Self {
        Self { mean: 0.0, deviation: 1.0, shift: 0, hold_out: 0.1, validation: 0.0 }
    }
}

impl PrepareRecipe {
    /// What is done to each number.
    pub fn scaling(&self) -> Scaling {
        Scaling::normal(self.mean, self.deviation)
    }

    /// How images are shifted, if they are; what becomes free is what 0 was.
    pub fn shift(&self) -> Option<Shift> {
        let empty = -self.mean / self.deviation;
        (self.shift > 0).then_some(Shift { pixels: self.shift, empty })
    }
}

fn one() -> usize {
    1
}
fn one_u64() -> u64 {
    1
}
fn deadline() -> f32 {
    120.0
}

impl Recipe {
    /// Reads a recipe, and then sets keys in it, each as `key=value` with dots between the parts
    /// of a key. Files that it names are looked for beside it.
    ///
    /// # Errors
    /// What is wrong, with the line and the key, or with the setting.
    pub fn load(path: &Path, settings: &[String]) -> Result<Self, RecipeError> {
        let text = read(path)
            .map_err(|error| RecipeError(format!("cannot read {}: {error}", path.display())))?;
        let told = |error: RecipeError| RecipeError(format!("{}: {error}", path.display()));
        let mut recipe = Self::parse(&text, settings).map_err(told)?;
        recipe.folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
        if recipe.name.is_empty() {
            let name = path.file_stem().map(|name| name.to_string_lossy().into_owned());
            recipe.name = name.unwrap_or_default();
        }
        Ok(recipe)
    }

    /// As [`Recipe::load`], of a text.
    ///
    /// # Errors
    /// As [`Recipe::load`].
    pub fn parse(text: &str, settings: &[String]) -> Result<Self, RecipeError> {
        let told = |error: toml::de::Error| RecipeError(error.to_string().trim_end().to_owned());
        let mut recipe: Self = toml::from_str(text).map_err(told)?;
        if !settings.is_empty() {
            recipe = overrides::apply(text, settings)?;
        }
        recipe.check()?;
        Ok(recipe)
    }

    /// Refuses what is wrong only beside each other.
    fn check(&self) -> Result<(), RecipeError> {
        let wrong = |text: &str| Err(RecipeError(text.to_owned()));
        if self.epochs.is_none() && self.steps.is_none() {
            return wrong("say how long it trains: set epochs, steps, or both");
        }
        if self.epochs == Some(0) || self.steps == Some(0) {
            return wrong("epochs and steps are 1 or more");
        }
        if self.checkpoint_steps == Some(0) {
            return wrong("checkpoint-steps is 1 or more");
        }
        if self.schedule.decay.is_some() && self.schedule.cosine.is_some() {
            return wrong("schedule: decay and cosine are two ways; set one");
        }
        if self.target.accuracy.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
            return wrong("target: accuracy is a share from 0 to 1");
        }
        if let Some(compress) = &self.compress {
            compress.check()?;
        }
        match &self.strategy {
            StrategyRecipe::Federated(federated) => federated.check(),
            _ => Ok(()),
        }
    }

    /// Tells recipes apart by all that parameters come from; how long it trains, on how many
    /// ranks, and where results go is left out, as that may change when a job is resumed.
    pub fn fingerprint(&self) -> String {
        let parts = serde_json::json!([
            self.seed,
            self.batch,
            self.model,
            self.data,
            self.prepare,
            self.strategy,
            self.optimizer,
            self.schedule,
        ]);
        crate::hex(&Sha256::digest(parts.to_string()))
    }

    /// Tells packages apart by all that they come from: the training, how long it was, and the
    /// compression.
    pub fn package_fingerprint(&self) -> String {
        let parts = serde_json::json!([self.fingerprint(), self.epochs, self.steps, self.compress]);
        crate::hex(&Sha256::digest(parts.to_string()))
    }

    /// How long a rank waits for the others.
    pub fn deadline(&self) -> Duration {
        Duration::from_secs_f32(self.deadline_seconds.min(DEADLINE_SECONDS_MAX))
    }

    /// Where results go.
    pub fn output(&self) -> PathBuf {
        self.output.clone().unwrap_or_else(|| Path::new("runs").join(&self.name))
    }
}

/// The text of a file, as far as a recipe may go.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?.take(BYTES_MAX).read_to_string(&mut text)?;
    match (read as u64) < BYTES_MAX {
        true => Ok(text),
        false => Err(io::ErrorKind::FileTooLarge.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "epochs = 2\nbatch = 8\nmodel.mlp = [784, 10]\n[data.digits]\n\
                         [schedule]\nrate = 0.1\n";

    fn said(text: &str) -> String {
        Recipe::parse(text, &[]).unwrap_err().to_string()
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let recipe = Recipe::parse(SMALL, &[]).unwrap();
        assert_eq!((recipe.seed, recipe.ranks, recipe.batch), (1, 1, 8));
        assert_eq!(recipe.strategy, StrategyRecipe::Synchronous(SynchronousRecipe::default()));
        assert_eq!((recipe.prepare.scaling(), recipe.prepare.shift()), (Scaling::NONE, None));
    }

    #[test]
    fn errors_name_the_line_and_the_key() {
        let text = SMALL.replace("batch = 8", "bacth = 8");
        assert!(said(&text).contains("line 2") && said(&text).contains("bacth"), "{}", said(&text));
        let text = SMALL.replace("rate = 0.1", "rate = -0.1");
        assert!(
            said(&text).contains("line 6") && said(&text).contains("rate = -0.1"),
            "{}",
            said(&text)
        );
        let text = SMALL.replace("[data.digits]", "[data.digits]\ntrian = 5");
        assert!(said(&text).contains("line 5") && said(&text).contains("trian"), "{}", said(&text));
        let text = SMALL.replace("batch = 8", "batch = 0");
        assert!(
            said(&text).contains("line 2") && said(&text).contains("1 or more"),
            "{}",
            said(&text)
        );
        let text = format!("{SMALL}[strategy.federated]\nclients = 'many'\n");
        assert!(said(&text).contains("line 8") && said(&text).contains("many"), "{}", said(&text));
        let text = format!("{SMALL}[strategy.federted]\n");
        assert!(
            said(&text).contains("line 7") && said(&text).contains("federated"),
            "{}",
            said(&text)
        );
    }

    #[test]
    fn what_is_wrong_together_is_told() {
        assert!(said(&SMALL.replace("epochs = 2\n", "")).contains("epochs, steps"));
        assert!(said(&SMALL.replace("epochs = 2", "epochs = 0")).contains("1 or more"));
        let both = format!("{SMALL}cosine = 0\ndecay = {{ at-epochs = [1], factor = 0.1 }}\n");
        assert!(said(&both).contains("two ways"), "{}", said(&both));
    }

    #[test]
    fn fingerprints_are_of_what_parameters_come_from() {
        let of = |settings: &[&str]| {
            let settings: Vec<String> = settings.iter().map(|text| (*text).to_owned()).collect();
            Recipe::parse(SMALL, &settings).unwrap().fingerprint()
        };
        assert_eq!(of(&[]), of(&["epochs=5", "ranks=4", "output=elsewhere", "steps=9"]));
        for other in ["seed=2", "batch=9", "schedule.rate=0.2", "optimizer.momentum=0.9"] {
            assert_ne!(of(&[]), of(&[other]), "{other}");
        }
    }

    #[test]
    fn a_recipe_is_called_like_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("small.toml");
        std::fs::write(&path, SMALL).unwrap();
        let recipe = Recipe::load(&path, &[]).unwrap();
        assert_eq!((recipe.name.as_str(), &recipe.folder), ("small", &folder.path().to_path_buf()));
        assert_eq!(recipe.output(), Path::new("runs/small"));
        let said = Recipe::load(&folder.path().join("none.toml"), &[]).unwrap_err().to_string();
        assert!(said.starts_with("cannot read ") && said.contains("none.toml"), "{said}");
        std::fs::write(&path, "epochs = x").unwrap();
        let said = Recipe::load(&path, &[]).unwrap_err().to_string();
        assert!(said.contains("small.toml: ") && said.contains("line 1"), "{said}");
    }
}
