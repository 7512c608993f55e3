//! `skysail-train run`: a training, from its recipe to the model.

use super::BadUsage;
use super::engine::{Engine, Sums};
use super::output::{Output, print};
use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;
use skysail_graph::write_atomically;
use skysail_trainer::{
    Checkpoint, CheckpointError, Measured, Outcome, Prepared, Recipe, Report, StepNews, Store,
    Surroundings, TrainError, Trainee, Watcher,
};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// The trained model, in the folder of results.
pub(super) const MODEL: &str = "model.onnx";
/// What came of a training; there is none until it is done.
const RESULT: &str = "result.json";
const CHECKPOINTS: &str = "checkpoints";

/// Train a model as a recipe says.
///
/// The folder of results gets model.onnx, metrics.jsonl, loss.svg, accuracy.svg, result.json and
/// the last two checkpoints.
#[derive(Debug, Args)]
pub(super) struct Flags {
    /// The recipe, a file of TOML.
    recipe: PathBuf,
    /// Workers, each a thread. Under mpirun its processes are the workers.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    ranks: Option<u16>,
    /// Where workers add up gradients: on processors, or each on a GPU of its own by NCCL.
    #[arg(long, value_enum, value_name = "WHERE", default_value = "cpu")]
    sums: Sums,
    /// What all that is random comes from.
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Goes on from the last checkpoint, with this number of workers or another.
    #[arg(long)]
    resume: bool,
    /// Begins anew in the folder of an earlier run: what that left is replaced.
    #[arg(long, conflicts_with = "resume")]
    fresh: bool,
    /// Sets a key of the recipe, such as schedule.rate=0.05. May be given often.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The folder of results.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How the result is printed.
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

/// What came of a training.
#[derive(Debug, Serialize)]
struct TrainingResult {
    recipe: String,
    seed: u64,
    ranks: usize,
    parameters: usize,
    epochs: u64,
    steps: u64,
    train_loss: Option<f32>,
    test_loss: Option<f32>,
    accuracy: Option<f32>,
    best_accuracy: Option<f32>,
    target: Option<f32>,
    /// The first epoch, or round, that reached the target.
    reached_at: Option<u64>,
    bytes_sent: u64,
    seconds: f64,
    model: PathBuf,
}

/// Trains.
pub(super) fn execute(flags: &Flags, stop: &AtomicBool) -> Result<()> {
    let mut recipe = Recipe::load(&flags.recipe, &flags.set)?;
    recipe.seed = flags.seed.unwrap_or(recipe.seed);
    let out = flags.out.clone().unwrap_or_else(|| recipe.output());
    let ranks = flags.ranks.map_or(recipe.ranks, usize::from);
    let engine = Engine::of(ranks)?;
    let world = engine.world();
    let prepared = recipe.prepare(world)?;
    let first = engine.is_first();
    let store = Store::new(out.join(CHECKPOINTS));
    // What rank 0 goes on from, all do: the others need not see its folder.
    let found = match flags.resume && first {
        true => Some(last(&store, &out, &prepared)?),
        false => None,
    };
    if first && !flags.resume {
        begin_anew(&store, &out, flags.fresh)?;
    }
    let (resume, notes) = found.unzip();
    let started = Instant::now();
    let outcome = {
        let told = Told::new(first, &out, &prepared, resume.as_ref())?;
        notes.into_iter().flatten().for_each(|note| told.note(&note));
        told.note(&about(&prepared, world));
        let (store, resume) = (Some(&store), resume.as_ref());
        let around = Surroundings { watcher: &told, store, resume, stop };
        let outcome = engine.run(&prepared, &around, flags.sums)?;
        told.finish()?;
        outcome
    };
    if !first {
        return Ok(());
    }
    if outcome.stopped {
        bail!("stopped at step {}; --resume goes on", outcome.steps);
    }
    let result = TrainingResult::new(&prepared, world, &outcome, started, &out);
    prepared.trainee.trained(&outcome.parameters)?.save(&result.model)?;
    write_atomically(&out.join(RESULT), &serde_json::to_vec_pretty(&result)?)?;
    print(flags.output, &result, &result.text())?;
    match (result.target, result.reached_at) {
        (Some(target), None) => bail!("the target of {:.2} % was not reached", 100.0 * target),
        _ => Ok(()),
    }
}

/// The last checkpoint, and what there is to say about it.
fn last(store: &Store, out: &Path, prepared: &Prepared) -> Result<(Checkpoint, Vec<String>)> {
    let nowhere = || CheckpointError::Nowhere { folder: out.to_path_buf() };
    let found = store.latest()?.ok_or_else(nowhere)?;
    let (data, recipe) = (&prepared.settings.data, &prepared.settings.recipe);
    found.checkpoint.check(prepared.trainee.layout(), data, recipe)?;
    let mut notes: Vec<String> = found.damaged.iter().map(ToString::to_string).collect();
    notes.push(format!("going on from step {}", found.checkpoint.about.steps));
    Ok((found.checkpoint, notes))
}

/// Makes room for a new training, unless that would lose an earlier one.
fn begin_anew(store: &Store, out: &Path, fresh: bool) -> Result<()> {
    let result = out.join(RESULT);
    let is_done = result.exists();
    // One that can not be read is as good as none, for who begins anew.
    let is_unfinished = !matches!(store.latest(), Ok(None)) && !is_done;
    let refused = if is_done {
        "has the results of an earlier run: --out DIR takes another folder, --resume goes on from its \
         last checkpoint (with more epochs), --fresh replaces it"
    } else {
        "has an earlier run that did not finish: --resume goes on, --fresh begins anew"
    };
    if (is_done || is_unfinished) && !fresh {
        return Err(BadUsage(format!("{} {refused}", out.display())).into());
    }
    store.clear()?;
    if is_done {
        std::fs::remove_file(&result)
            .with_context(|| format!("cannot remove {}", result.display()))?;
    }
    Ok(())
}

/// What is about to be trained, in a line.
fn about(prepared: &Prepared, world: usize) -> String {
    let recipe = prepared.recipe();
    format!(
        "{}: {} parameters, {} rows to learn from, {} to test with, {} steps of {} on {world} {}",
        recipe.name,
        prepared.trainee.layout().len(),
        prepared.train.rows(),
        prepared.test.rows(),
        prepared.settings.steps,
        recipe.batch,
        if world == 1 { "rank" } else { "ranks" },
    )
}

/// Tells of the training on the first rank, and keeps quiet on the others.
struct Told(Option<Report>);

impl Told {
    fn new(
        first: bool,
        out: &Path,
        prepared: &Prepared,
        resume: Option<&Checkpoint>,
    ) -> Result<Self> {
        let done = resume.map_or(0, |checkpoint| checkpoint.about.steps);
        let report = || Report::new(out, prepared.settings.steps, done, true);
        Ok(Self(first.then(report).transpose()?))
    }

    fn note(&self, text: &str) {
        if let Some(report) = &self.0 {
            report.note(text);
        }
    }

    fn finish(&self) -> Result<()> {
        Ok(self.0.as_ref().map_or(Ok(()), Report::finish)?)
    }
}

impl Watcher for Told {
    fn step(&self, step: &StepNews) -> Result<(), TrainError> {
        self.0.as_ref().map_or(Ok(()), |report| report.step(step))
    }

    fn measured(&self, measured: &Measured) -> Result<(), TrainError> {
        self.0.as_ref().map_or(Ok(()), |report| report.measured(measured))
    }
}

impl TrainingResult {
    fn new(
        prepared: &Prepared,
        ranks: usize,
        outcome: &Outcome,
        started: Instant,
        out: &Path,
    ) -> Self {
        let recipe = prepared.recipe();
        let last = outcome.history.last();
        let target = recipe.target.accuracy;
        let reached = |measured: &&Measured| {
            target.zip(measured.accuracy).is_some_and(|(target, found)| found >= target)
        };
        let accuracies = outcome.history.iter().filter_map(|measured| measured.accuracy);
        Self {
            recipe: recipe.name.clone(),
            seed: recipe.seed,
            ranks,
            parameters: outcome.parameters.len(),
            epochs: last.map_or(0, |measured| measured.epoch),
            steps: outcome.steps,
            train_loss: last.map(|measured| measured.train_loss),
            test_loss: last.map(|measured| measured.test_loss),
            accuracy: last.and_then(|measured| measured.accuracy),
            best_accuracy: accuracies.reduce(f32::max),
            target,
            reached_at: outcome.history.iter().find(reached).map(|measured| measured.epoch),
            bytes_sent: last.map_or(0, |measured| measured.bytes_sent),
            seconds: started.elapsed().as_secs_f64(),
            model: out.join(MODEL),
        }
    }

    fn text(&self) -> String {
        let measured = match (self.accuracy, self.test_loss) {
            (Some(share), _) => format!("{:.2} % right", 100.0 * share),
            (None, Some(loss)) => format!("test loss {loss:.6}"),
            (None, None) => "nothing to do".to_owned(),
        };
        let reached = match (self.target, self.reached_at) {
            (Some(target), Some(epoch)) => {
                format!(", the target of {:.2} % reached in epoch {epoch}", 100.0 * target)
            }
            _ => String::new(),
        };
        let (model, seconds) = (self.model.display(), self.seconds);
        format!("{model}: {measured}{reached}, after {} steps in {seconds:.1} s", self.steps)
    }
}
