//! Recipes: training runs described in TOML files. Errors name the line and the key.

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
pub use prepare::{PreparedRecipe, RunContext};
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

/// Upper limit of a recipe's size in bytes.
const BYTES_MAX: u64 = 1 << 20;
/// Upper limit of the timeout in seconds: eleven days.
const TIMEOUT_SECONDS_MAX: f32 = 1e6;

/// An error in a recipe, with its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RecipeError(pub String);

/// A training run, as described in a TOML file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Recipe {
    /// Name of the run; by default that of the recipe's file.
    #[serde(default)]
    pub name: String,
    /// Seed of all random numbers.
    #[serde(default = "one_u64")]
    pub seed: u64,
    /// Number of ranks, unless the command line sets it.
    #[serde(default = "one", deserialize_with = "checks::one_or_more")]
    pub ranks: usize,
    /// Passes over the training data; with federated averaging, number of rounds.
    pub epochs: Option<u64>,
    /// Upper limit of steps.
    pub steps: Option<u64>,
    /// Rows of a step over all ranks; with federated averaging, rows of a client's step.
    #[serde(deserialize_with = "checks::one_or_more")]
    pub batch: usize,
    /// Model to train.
    pub model: ModelRecipe,
    /// Training and test data.
    pub data: Source,
    /// Preparation of the data.
    #[serde(default)]
    pub prepare: PrepareRecipe,
    /// Strategy by which ranks train together.
    #[serde(default)]
    pub strategy: StrategyRecipe,
    /// Optimizer that updates parameters from gradients.
    #[serde(default)]
    pub optimizer: OptimizerRecipe,
    /// Learning rate at each step.
    pub schedule: ScheduleRecipe,
    /// Target accuracy.
    #[serde(default)]
    pub target: TargetRecipe,
    /// Compression of the trained model, if any.
    pub compress: Option<CompressRecipe>,
    /// Output folder, relative to the current folder; by default `runs/NAME`.
    pub output: Option<PathBuf>,
    /// Steps between checkpoints, in addition to one after each epoch.
    pub checkpoint_steps: Option<u64>,
    /// Timeout in seconds for waiting on other ranks.
    #[serde(default = "timeout", deserialize_with = "checks::positive")]
    pub timeout_seconds: f32,
    /// Folder of the recipe, to which its file paths are relative.
    #[serde(skip)]
    pub folder: PathBuf,
}

/// Preparation of the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct PrepareRecipe {
    /// Mean that is subtracted from each input value. Pixels range from 0 to 1.
    #[serde(deserialize_with = "checks::finite")]
    pub mean: f32,
    /// Standard deviation by which each input value is then divided.
    #[serde(deserialize_with = "checks::positive")]
    pub deviation: f32,
    /// Largest random shift of training images, in pixels in each direction.
    pub shift: usize,
    /// Share of rows held out for testing, if the source has no test data.
    #[serde(deserialize_with = "checks::share")]
    pub hold_out: f64,
    /// Share of the training rows held out for decisions of compression. With 0, compression uses
    /// the test data, whose accuracy is then slightly optimistic.
    #[serde(deserialize_with = "checks::share")]
    pub validation: f64,
}

/// Target of training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct TargetRecipe {
    /// Test accuracy to reach, from 0 to 1.
    pub accuracy: Option<f32>,
    /// True to end training once the target is reached.
    pub stop: bool,
}

impl Default for PrepareRecipe {
    fn default() -> Self {
        Self { mean: 0.0, deviation: 1.0, shift: 0, hold_out: 0.1, validation: 0.0 }
    }
}

impl PrepareRecipe {
    /// The scaling of each input value.
    pub fn scaling(&self) -> Scaling {
        Scaling::normal(self.mean, self.deviation)
    }

    /// The shift of images, if any. Vacated pixels get the value that 0 is scaled to.
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
fn timeout() -> f32 {
    120.0
}

impl Recipe {
    /// Loads a recipe and applies `settings`, each `key=value` with dotted keys. File paths in the
    /// recipe are relative to its folder.
    ///
    /// # Errors
    /// Fails with the line and the key in the recipe, or with the setting.
    pub fn load(path: &Path, settings: &[String]) -> Result<Self, RecipeError> {
        let text = read(path)
            .map_err(|error| RecipeError(format!("cannot read {}: {error}", path.display())))?;
        let located = |error: RecipeError| RecipeError(format!("{}: {error}", path.display()));
        let mut recipe = Self::parse(&text, settings).map_err(located)?;
        recipe.folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
        if recipe.name.is_empty() {
            let name = path.file_stem().map(|name| name.to_string_lossy().into_owned());
            recipe.name = name.unwrap_or_default();
        }
        Ok(recipe)
    }

    /// Parses a recipe like [`Recipe::load`].
    ///
    /// # Errors
    /// Same as [`Recipe::load`].
    pub fn parse(text: &str, settings: &[String]) -> Result<Self, RecipeError> {
        let located = |error: toml::de::Error| RecipeError(error.to_string().trim_end().to_owned());
        let mut recipe: Self = toml::from_str(text).map_err(located)?;
        if !settings.is_empty() {
            recipe = overrides::apply(text, settings)?;
        }
        recipe.check()?;
        Ok(recipe)
    }

    /// Rejects keys that contradict each other.
    fn check(&self) -> Result<(), RecipeError> {
        let wrong = |text: &str| Err(RecipeError(text.to_owned()));
        if self.epochs.is_none() && self.steps.is_none() {
            return wrong("training has no end: set epochs, steps, or both");
        }
        if self.epochs == Some(0) || self.steps == Some(0) {
            return wrong("epochs and steps are 1 or more");
        }
        if self.checkpoint_steps == Some(0) {
            return wrong("checkpoint-steps is 1 or more");
        }
        if self.schedule.decay.is_some() && self.schedule.cosine.is_some() {
            return wrong("schedule: decay and cosine exclude each other; set one");
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

    /// Hash of everything that determines the parameters. It excludes the length of training, the
    /// number of ranks and the output folder, which may change when a run is resumed.
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

    /// Hash of everything that determines a package: training, its length, and compression.
    pub fn package_fingerprint(&self) -> String {
        let parts = serde_json::json!([self.fingerprint(), self.epochs, self.steps, self.compress]);
        crate::hex(&Sha256::digest(parts.to_string()))
    }

    /// Timeout for waiting on other ranks.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs_f32(self.timeout_seconds.min(TIMEOUT_SECONDS_MAX))
    }

    /// The output folder.
    pub fn output(&self) -> PathBuf {
        self.output.clone().unwrap_or_else(|| Path::new("runs").join(&self.name))
    }
}

/// Reads a file up to the size limit of recipes.
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

    fn message(text: &str) -> String {
        Recipe::parse(text, &[]).unwrap_err().to_string()
    }

    #[test]
    fn missing_keys_have_defaults() {
        let recipe = Recipe::parse(SMALL, &[]).unwrap();
        assert_eq!((recipe.seed, recipe.ranks, recipe.batch), (1, 1, 8));
        assert_eq!(recipe.strategy, StrategyRecipe::Synchronous(SynchronousRecipe::default()));
        assert_eq!((recipe.prepare.scaling(), recipe.prepare.shift()), (Scaling::IDENTITY, None));
    }

    #[test]
    fn errors_name_the_line_and_the_key() {
        let text = SMALL.replace("batch = 8", "bacth = 8");
        assert!(
            message(&text).contains("line 2") && message(&text).contains("bacth"),
            "{}",
            message(&text)
        );
        let text = SMALL.replace("rate = 0.1", "rate = -0.1");
        assert!(
            message(&text).contains("line 6") && message(&text).contains("rate = -0.1"),
            "{}",
            message(&text)
        );
        let text = SMALL.replace("[data.digits]", "[data.digits]\ntrian = 5");
        assert!(
            message(&text).contains("line 5") && message(&text).contains("trian"),
            "{}",
            message(&text)
        );
        let text = SMALL.replace("batch = 8", "batch = 0");
        assert!(
            message(&text).contains("line 2") && message(&text).contains("1 or more"),
            "{}",
            message(&text)
        );
        let text = format!("{SMALL}[strategy.federated]\nclients = 'many'\n");
        assert!(
            message(&text).contains("line 8") && message(&text).contains("many"),
            "{}",
            message(&text)
        );
        let text = format!("{SMALL}[strategy.federted]\n");
        assert!(
            message(&text).contains("line 7") && message(&text).contains("federated"),
            "{}",
            message(&text)
        );
    }

    #[test]
    fn contradicting_keys_are_rejected() {
        assert!(message(&SMALL.replace("epochs = 2\n", "")).contains("epochs, steps"));
        assert!(message(&SMALL.replace("epochs = 2", "epochs = 0")).contains("1 or more"));
        let both = format!("{SMALL}cosine = 0\ndecay = {{ at-epochs = [1], factor = 0.1 }}\n");
        assert!(message(&both).contains("exclude each other"), "{}", message(&both));
    }

    #[test]
    fn fingerprints_cover_what_determines_the_parameters() {
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
    fn a_recipe_is_named_after_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("small.toml");
        std::fs::write(&path, SMALL).unwrap();
        let recipe = Recipe::load(&path, &[]).unwrap();
        assert_eq!((recipe.name.as_str(), &recipe.folder), ("small", &folder.path().to_path_buf()));
        assert_eq!(recipe.output(), Path::new("runs/small"));
        let message = Recipe::load(&folder.path().join("none.toml"), &[]).unwrap_err().to_string();
        assert!(message.starts_with("cannot read ") && message.contains("none.toml"), "{message}");
        std::fs::write(&path, "epochs = x").unwrap();
        let message = Recipe::load(&path, &[]).unwrap_err().to_string();
        assert!(message.contains("small.toml: ") && message.contains("line 1"), "{message}");
    }
}
