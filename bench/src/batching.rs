//! `skysail-bench batching`: what the batching policies are worth. Goodput within an objective
//! against every setting by hand, loads under and over the capacity, bursts, the cost of a
//! decision, and a neighbour that is loaded and unloaded.

mod arrivals;
mod setting;
mod subject;
mod drive;
mod seen;
mod house;
mod pace;
mod search;
mod policies;
mod capacities;
mod table;
mod loads;
mod over_http;
mod bursts;
mod decisions;
mod neighbour;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use house::House;
use pace::Pace;
use policies::Look;
use setting::Setting;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use subject::Subject;

/// Models that are asked through a server, and of these the one under bursts and beside another,
/// when nobody names any.
const SERVED: [&str; 3] = ["resnet20-cifar10", "mnist-cnn-batch", "all-minilm-l6-v2"];

const EXAMPLES: &str = "\
Examples:
  cargo xtask bench batching
  cargo xtask bench batching --quick
  cargo xtask bench batching --tables policies --models resnet20-cifar10,wide-mlp";

/// Measures batching.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Flags {
    /// Models, separated by commas: folders of --data, small-mlp or wide-mlp [default: seven].
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    models: Vec<String>,
    /// Tables, separated by commas [default: all].
    #[arg(long, value_enum, value_name = "NAMES", value_delimiter = ',')]
    tables: Vec<Table>,
    /// Short measurements and a thin grid: to see that it works, not for figures.
    #[arg(long)]
    quick: bool,
    /// The folder of real models, NAME/model.onnx.
    #[arg(long, value_name = "DIR", default_value = "../shared/data/models")]
    data: PathBuf,
    /// The server's executable.
    #[arg(long, value_name = "FILE", default_value = "target/release/skysail-server")]
    server: PathBuf,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Table {
    /// What a decision of the scheduler costs.
    Decisions,
    /// Goodput of all settings, in process.
    Policies,
    /// Below and above the capacity, in process.
    Loads,
    /// Bursts, in process.
    Bursts,
    /// A neighbour that is loaded and unloaded, in process.
    Neighbour,
    /// Below and above the capacity of a server.
    Http,
}

/// Runs the benchmark and prints its tables.
pub(crate) fn run(flags: &Flags) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut out = io::stdout().lock();
    let missing = Subject::missing(&flags.data);
    if !missing.is_empty() {
        let data = flags.data.display();
        writeln!(out, "{data} has no {}: measured without.", missing.join(", "))?;
    }
    let mut bench = Bench {
        subjects: Subject::all(&flags.models, &flags.data, folder.path())?,
        named: !flags.models.is_empty(),
        house: House::open()?,
        pace: Pace::new(flags.quick),
        looks: BTreeMap::new(),
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
                let looks = bench.served()?;
                over_http::tables(&mut out, &flags.server, &bench.pace, &looks)?;
            }
        }
        out.flush()?;
    }
    Ok(())
}

/// What the tables share.
struct Bench {
    subjects: Vec<Subject>,
    /// Whether somebody named the models.
    named: bool,
    house: House,
    pace: Pace,
    looks: BTreeMap<String, Look>,
    /// The best settings by hand that were found.
    best_fixed: BTreeMap<String, Setting>,
}

impl Bench {
    fn look(&mut self, subject: &Subject) -> Result<Look> {
        if let Some(look) = self.looks.get(&subject.name) {
            return Ok(look.clone());
        }
        let look = policies::look(&self.house, &self.pace, subject)?;
        self.looks.insert(subject.name.clone(), look.clone());
        Ok(look)
    }

    /// Looks at those that are asked through a server.
    fn served(&mut self) -> Result<Vec<Look>> {
        let is_usual = |subject: &&Subject| SERVED.contains(&&*subject.name);
        let mut served: Vec<Subject> = self.subjects.iter().filter(is_usual).cloned().collect();
        served.sort_by_key(|subject| SERVED.iter().position(|name| *name == subject.name));
        if self.named || served.is_empty() {
            served.clone_from(&self.subjects);
        }
        if self.pace.is_quick {
            served.truncate(1);
        }
        served.iter().map(|subject| self.look(subject)).collect()
    }

    fn policies(&mut self, out: &mut impl Write) -> Result<()> {
        table::settings_head(out)?;
        let mut findings = Vec::new();
        for subject in self.subjects.clone() {
            let look = self.look(&subject)?;
            let finding = policies::compare(&self.house, &self.pace, look)?;
            table::settings(out, &finding)?;
            if let Some(best) = finding.best_fixed() {
                self.best_fixed.insert(subject.name, best.setting);
            }
            findings.push(finding);
        }
        table::side_by_side(out, &findings)
    }

    /// All models, or one when it is to be quick.
    fn loads(&mut self, out: &mut impl Write) -> Result<()> {
        let looks = if self.pace.is_quick {
            self.served()?
        } else {
            let subjects = self.subjects.clone();
            subjects.iter().map(|subject| self.look(subject)).collect::<Result<_>>()?
        };
        loads::tables(out, &self.house, &self.pace, &looks)
    }

    fn bursts(&mut self, out: &mut impl Write) -> Result<()> {
        bursts::head(out)?;
        for look in self.served()?.iter().take(2) {
            let best = match self.best_fixed.get(&look.subject.name) {
                Some(best) => *best,
                None => policies::quick_best_fixed(&self.house, &self.pace, look)?,
            };
            let mut settings = vec![Setting::Predictive, best, Setting::USUAL];
            settings.dedup();
            bursts::rows(out, &self.house, &self.pace, look, &settings)?;
        }
        Ok(())
    }

    fn neighbour(&mut self, out: &mut impl Write) -> Result<()> {
        let look = self.served()?.into_iter().next().context("there is no model")?;
        let others = self.subjects.iter().filter(|other| other.name != look.subject.name);
        let bytes = |other: &&Subject| other.file.metadata().map_or(0, |file| file.len());
        // A model may be its own neighbour when there is no other.
        let heaviest = others.max_by_key(bytes).unwrap_or(&look.subject);
        neighbour::run(out, &self.house, &self.pace, &look, heaviest)
    }
}

/// Says what is being measured, to somebody who watches.
fn progress(what: fmt::Arguments<'_>) {
    let mut to = io::stderr();
    if to.is_terminal() {
        // The benchmark goes on without its watcher.
        let _ = writeln!(to, "{what}");
    }
}
