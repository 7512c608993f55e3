//! `skysail-train run`: trains a model from its recipe.

use super::BadUsage;
use super::launcher::{AllReduce, Launcher};
use super::output::{Output, print};
use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;
use skysail_graph::write_atomically;
use skysail_trainer::{
    Checkpoint, CheckpointError, Measurement, Outcome, PreparedRecipe, Recipe, Report, RunContext,
    StepEvent, Store, TrainError, TrainObserver, TrainTask,
};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// File name of the trained model in the output folder.
pub(super) const MODEL: &str = "model.onnx";
/// File name of the summary in the output folder; written when training is complete.
const RESULT: &str = "result.json";
const CHECKPOINTS: &str = "checkpoints";

/// Train a model by a recipe.
///
/// Ctrl-C stops training after a checkpoint; --resume continues it.
///
/// Writes to the output folder: model.onnx (the trained model), metrics.jsonl (one event a line),
/// loss.svg and accuracy.svg (curves), result.json (summary) and checkpoints/ (the last two).
#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Path of the recipe, a TOML file.
    recipe: PathBuf,
    /// Number of workers, each a thread of this process [default: `ranks` of the recipe]. Under
    /// mpirun every MPI process is one worker instead.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    ranks: Option<u16>,
    /// Device that sums gradients over the workers.
    #[arg(long, value_enum, value_name = "DEVICE", default_value = "cpu")]
    all_reduce: AllReduce,
    /// Seed of all random numbers, such as initial weights and order of the data [default: `seed`
    /// of the recipe].
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Continue from the last checkpoint in the output folder; --ranks may differ from before.
    #[arg(long)]
    resume: bool,
    /// Start over in a folder that holds an earlier run, whose results and checkpoints are deleted.
    #[arg(long, conflicts_with = "resume")]
    fresh: bool,
    /// Override one key of the recipe, such as schedule.rate=0.05; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Output folder [default: `output` of the recipe, or runs/NAME].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Format of the printed result.
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

/// Summary of a training run, printed and written to result.json.
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
    /// The first epoch or round that reached the target.
    reached_at: Option<u64>,
    bytes_sent: u64,
    seconds: f64,
    model: PathBuf,
}

/// Runs `skysail-train run`.
pub(super) fn execute(flags: &Flags, stop: &AtomicBool) -> Result<()> {
    let mut recipe = Recipe::load(&flags.recipe, &flags.set)?;
    recipe.seed = flags.seed.unwrap_or(recipe.seed);
    let out = flags.out.clone().unwrap_or_else(|| recipe.output());
    let ranks = flags.ranks.map_or(recipe.ranks, usize::from);
    let launcher = Launcher::detect(ranks)?;
    let world = launcher.world();
    let prepared = recipe.prepare(world)?;
    let first = launcher.is_rank_zero();
    let store = Store::new(out.join(CHECKPOINTS));
    // Rank 0 broadcasts its checkpoint, so the other ranks need not see its folder.
    let found = match flags.resume && first {
        true => Some(load_latest(&store, &out, &prepared)?),
        false => None,
    };
    if first && !flags.resume {
        start_over(&store, &out, flags.fresh)?;
    }
    let (resume, notes) = found.unzip();
    let started = Instant::now();
    let outcome = {
        let report = RunReport::new(first, &out, &prepared, resume.as_ref())?;
        notes.into_iter().flatten().for_each(|note| report.note(&note));
        report.note(&summary(&prepared, world));
        let (store, resume) = (Some(&store), resume.as_ref());
        let context = RunContext { observer: &report, store, resume, stop };
        let outcome = launcher.run(&prepared, &context, flags.all_reduce)?;
        report.finish()?;
        outcome
    };
    if !first {
        return Ok(());
    }
    if outcome.stopped {
        bail!("stopped at step {}; continue with --resume", outcome.steps);
    }
    let result = TrainingResult::new(&prepared, world, &outcome, started, &out);
    prepared.task.trained(&outcome.parameters)?.save(&result.model)?;
    write_atomically(&out.join(RESULT), &serde_json::to_vec_pretty(&result)?)?;
    print(flags.output, &result, &result.text())?;
    match (result.target, result.reached_at) {
        (Some(target), None) => bail!("the target of {:.2} % was not reached", 100.0 * target),
        _ => Ok(()),
    }
}

/// Loads the last checkpoint, with notes for the log.
fn load_latest(
    store: &Store,
    out: &Path,
    prepared: &PreparedRecipe,
) -> Result<(Checkpoint, Vec<String>)> {
    let not_found = || CheckpointError::NotFound { folder: out.to_path_buf() };
    let found = store.latest()?.ok_or_else(not_found)?;
    let (data, recipe) = (&prepared.settings.data, &prepared.settings.recipe);
    found.checkpoint.check(prepared.task.layout(), data, recipe)?;
    let mut notes: Vec<String> = found.damaged.iter().map(ToString::to_string).collect();
    notes.push(format!("resuming from step {}", found.checkpoint.info.steps));
    Ok((found.checkpoint, notes))
}

/// Clears the folder for a new run; fails if that would delete an earlier run without `fresh`.
fn start_over(store: &Store, out: &Path, fresh: bool) -> Result<()> {
    let result = out.join(RESULT);
    let is_done = result.exists();
    // An unreadable checkpoint is an unfinished run.
    let is_unfinished = !matches!(store.latest(), Ok(None)) && !is_done;
    let problem = if is_done {
        "has the results of an earlier run: choose another folder with --out DIR, continue from its \
         last checkpoint (with more epochs) with --resume, or replace it with --fresh"
    } else {
        "has an earlier run that did not finish: continue with --resume, or start over with --fresh"
    };
    if (is_done || is_unfinished) && !fresh {
        return Err(BadUsage(format!("{} {problem}", out.display())).into());
    }
    store.clear()?;
    if is_done {
        std::fs::remove_file(&result)
            .with_context(|| format!("cannot remove {}", result.display()))?;
    }
    Ok(())
}

/// Describes the run in a line.
fn summary(prepared: &PreparedRecipe, world: usize) -> String {
    let recipe = prepared.recipe();
    format!(
        "{}: {} parameters, {} training rows, {} test rows, {} steps of {} rows on {world} {}",
        recipe.name,
        prepared.task.layout().len(),
        prepared.train.rows(),
        prepared.test.rows(),
        prepared.settings.steps,
        recipe.batch,
        if world == 1 { "rank" } else { "ranks" },
    )
}

/// The report of a run on rank 0; silent on other ranks.
struct RunReport(Option<Report>);

impl RunReport {
    fn new(
        first: bool,
        out: &Path,
        prepared: &PreparedRecipe,
        resume: Option<&Checkpoint>,
    ) -> Result<Self> {
        let done = resume.map_or(0, |checkpoint| checkpoint.info.steps);
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

impl TrainObserver for RunReport {
    fn step(&self, step: &StepEvent) -> Result<(), TrainError> {
        self.0.as_ref().map_or(Ok(()), |report| report.step(step))
    }

    fn measured(&self, measured: &Measurement) -> Result<(), TrainError> {
        self.0.as_ref().map_or(Ok(()), |report| report.measured(measured))
    }
}

impl TrainingResult {
    fn new(
        prepared: &PreparedRecipe,
        ranks: usize,
        outcome: &Outcome,
        started: Instant,
        out: &Path,
    ) -> Self {
        let recipe = prepared.recipe();
        let last = outcome.history.last();
        let target = recipe.target.accuracy;
        let reached = |measured: &&Measurement| {
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
            (Some(share), _) => format!("accuracy {:.2} %", 100.0 * share),
            (None, Some(loss)) => format!("test loss {loss:.6}"),
            (None, None) => "nothing to do".to_owned(),
        };
        let reached = match (self.target, self.reached_at) {
            (Some(target), Some(epoch)) => {
                format!(", target of {:.2} % reached in epoch {epoch}", 100.0 * target)
            }
            _ => String::new(),
        };
        let (model, seconds) = (self.model.display(), self.seconds);
        format!("{model}: {measured}{reached}, after {} steps in {seconds:.1} s", self.steps)
    }
}
