//! `skysail-bench batching`: the batching policies. Measures goodput against every hand-set point,
//! loads below and above the capacity, bursts, the cost of a decision, and a neighbour.

mod setting;
mod bench_model;
mod drive;
mod measurement;
mod loaded_model;
mod budget;
mod search;
mod policies;
mod capacities;
mod table;
mod loads;
mod over_http;
mod bursts;
mod decisions;
mod neighbour;

use crate::engine_under_test::TestEngine;
use anyhow::{Context, Result};
use bench_model::BenchModel;
use budget::Budget;
use clap::{Args, ValueEnum};
use loaded_model::OBJECTIVE_MS;
use policies::Baseline;
use setting::Setting;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::thread::available_parallelism;

/// Default models of the tables over HTTP; the first ones also of bursts and of the neighbour.
const SERVED: [&str; 3] = ["resnet20-cifar10", "mnist-cnn-batch", "all-minilm-l6-v2"];

const EXAMPLES: &str = "\
Examples:
  cargo xtask bench batching
  cargo xtask bench batching --quick
  cargo xtask bench batching --tables policies --models resnet20-cifar10,wide-mlp";

/// Measure the batching policies
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Flags {
    /// Models, separated by commas: folders of --data, small-mlp or wide-mlp [default: all seven]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    models: Vec<String>,
    /// Tables to print, separated by commas [default: all]
    #[arg(long, value_enum, value_name = "NAMES", value_delimiter = ',')]
    tables: Vec<Table>,
    /// Run a short check with few measurements; its figures are not meaningful
    #[arg(long)]
    quick: bool,
    /// Folder of real models, as NAME/model.onnx
    #[arg(long, value_name = "DIR", default_value = "../shared/data/models")]
    data: PathBuf,
    /// Executable of the server
    #[arg(long, value_name = "FILE", default_value = "target/release/skysail-server")]
    server: PathBuf,
}

/// Table of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Table {
    /// Cost of a scheduler's decision
    Decisions,
    /// Goodput of all settings, in process
    Policies,
    /// Loads below and above the capacity, in process
    Loads,
    /// Bursts, in process
    Bursts,
    /// A neighbour that is loaded and unloaded, in process
    Neighbour,
    /// Loads below and above the capacity, over HTTP
    Http,
}

/// Runs the benchmark and prints its tables.
pub(crate) fn run(flags: &Flags) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut out = io::stdout().lock();
    let missing = BenchModel::missing(&flags.data);
    if !missing.is_empty() {
        let data = flags.data.display();
        writeln!(out, "{data} has no {}: measured without.", missing.join(", "))?;
    }
    let mut bench = Bench {
        models: BenchModel::all(&flags.models, &flags.data, folder.path())?,
        named: !flags.models.is_empty(),
        engine: TestEngine::start(available_parallelism()?.get(), Some(OBJECTIVE_MS))?,
        budget: Budget::new(flags.quick),
        baselines: BTreeMap::new(),
        best_fixed: BTreeMap::new(),
    };
    let tables: &[Table] =
        if flags.tables.is_empty() { Table::value_variants() } else { &flags.tables };
    for table in tables {
        match table {
            Table::Decisions => decisions::run(&mut out)?,
            Table::Policies => bench.policies(&mut out)?,
            Table::Loads => bench.loads(&mut out)?,
            Table::Bursts => bench.bursts(&mut out)?,
            Table::Neighbour => bench.neighbour(&mut out)?,
            Table::Http => {
                let baselines = bench.served()?;
                over_http::tables(&mut out, &flags.server, &bench.budget, &baselines)?;
            }
        }
        out.flush()?;
    }
    Ok(())
}

/// State that the tables share.
struct Bench {
    models: Vec<BenchModel>,
    /// True if the models were named on the command line.
    named: bool,
    engine: TestEngine,
    budget: Budget,
    baselines: BTreeMap<String, Baseline>,
    /// Best hand-set point of each model, as found so far.
    best_fixed: BTreeMap<String, Setting>,
}

impl Bench {
    fn baseline(&mut self, model: &BenchModel) -> Result<Baseline> {
        if let Some(baseline) = self.baselines.get(&model.name) {
            return Ok(baseline.clone());
        }
        let baseline = policies::baseline(&self.engine, &self.budget, model)?;
        self.baselines.insert(model.name.clone(), baseline.clone());
        Ok(baseline)
    }

    /// Baselines of the models that are served over HTTP.
    fn served(&mut self) -> Result<Vec<Baseline>> {
        let is_usual = |model: &&BenchModel| SERVED.contains(&&*model.name);
        let mut served: Vec<BenchModel> = self.models.iter().filter(is_usual).cloned().collect();
        served.sort_by_key(|model| SERVED.iter().position(|name| *name == model.name));
        if self.named || served.is_empty() {
            served.clone_from(&self.models);
        }
        if self.budget.is_quick {
            served.truncate(1);
        }
        served.iter().map(|model| self.baseline(model)).collect()
    }

    fn policies(&mut self, out: &mut impl Write) -> Result<()> {
        table::settings_head(out)?;
        let mut comparisons = Vec::new();
        for model in self.models.clone() {
            let baseline = self.baseline(&model)?;
            let comparison = policies::compare(&self.engine, &self.budget, baseline)?;
            table::settings(out, &comparison)?;
            if let Some(best) = comparison.best_fixed() {
                self.best_fixed.insert(model.name, best.setting);
            }
            comparisons.push(comparison);
        }
        table::side_by_side(out, &comparisons)
    }

    /// Measures all models, or one in a quick run.
    fn loads(&mut self, out: &mut impl Write) -> Result<()> {
        let baselines = if self.budget.is_quick {
            self.served()?
        } else {
            let models = self.models.clone();
            models.iter().map(|model| self.baseline(model)).collect::<Result<_>>()?
        };
        loads::tables(out, &self.engine, &self.budget, &baselines)
    }

    fn bursts(&mut self, out: &mut impl Write) -> Result<()> {
        bursts::head(out)?;
        for baseline in self.served()?.iter().take(2) {
            let best = match self.best_fixed.get(&baseline.model.name) {
                Some(best) => *best,
                None => policies::quick_best_fixed(&self.engine, &self.budget, baseline)?,
            };
            let mut settings = vec![Setting::Predictive, best, Setting::USUAL];
            settings.dedup();
            bursts::rows(out, &self.engine, &self.budget, baseline, &settings)?;
        }
        Ok(())
    }

    fn neighbour(&mut self, out: &mut impl Write) -> Result<()> {
        let baseline = self.served()?.into_iter().next().context("there is no model")?;
        let others = self.models.iter().filter(|other| other.name != baseline.model.name);
        let bytes = |other: &&BenchModel| other.file.metadata().map_or(0, |file| file.len());
        // A model may be its own neighbour if there is no other.
        let heaviest = others.max_by_key(bytes).unwrap_or(&baseline.model);
        neighbour::run(out, &self.engine, &self.budget, &baseline, heaviest)
    }
}
