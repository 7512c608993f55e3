//! `skysail-bench planning`: latencies that `skysail-load plan` predicts from a capacity profile,
//! beside measurements at loads that the profile lacks.

use crate::cores::Cores;
use crate::engine_under_test::{self, SMALL_MLP, WIDE_MLP, install_mlp};
use crate::load::block_on;
use crate::process::Server;
use crate::progress::progress;
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use skysail_loadtest::capacity::level::{Window, level};
use skysail_loadtest::capacity::measure::Conditions;
use skysail_loadtest::capacity::{Error, Options, find};
use skysail_loadtest::plan::{PlanRequest, Prediction, Traffic, predict_servers};
use skysail_loadtest::profile::{Level, Objective, Profile};
use skysail_loadtest::quantiles::Quantiles;
use skysail_loadtest::target::{Protocol, Target};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Greatest relative error of a prediction.
const OFF_MAX: f64 = 0.2;
/// Most requests in flight.
const CONNECTIONS: usize = 256;
/// Highest rate: above it the generator would be measured.
const MOST_PER_S: f64 = 20_000.0;
/// Windows of each load, whose median counts.
const WINDOWS: usize = 3;
/// Attempts to measure a window in which the generator kept up.
const TRIES: usize = 4;
/// Least requests of a window, so that a hundredth of them is more than a handful.
const REQUESTS_MIN: f64 = 2_000.0;

const EXAMPLES: &str = "\
Examples:
  cargo xtask bench planning
  cargo xtask bench planning --models resnet20-cifar10 --seconds 3";

/// Measure the accuracy of plans
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Flags {
    /// Models, separated by commas: small-mlp, wide-mlp or folders of --data
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "small-mlp,resnet20-cifar10,wide-mlp"
    )]
    models: Vec<String>,
    /// Least seconds of each measurement
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Folder of real models, as NAME/model.onnx
    #[arg(long, value_name = "DIR", default_value = "../shared/data/models")]
    data: PathBuf,
    /// Executable of the server
    #[arg(long, value_name = "FILE", default_value = "target/release/skysail-server")]
    server: PathBuf,
    /// Folder to write the profiles to
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// Load that is predicted and measured.
struct Case {
    /// Rate, relative to the capacity.
    share: f64,
    /// Factor, length and period of bursts, in microseconds.
    bursts: Option<(f64, u64, u64)>,
}

const CASES: [Case; 3] = [
    Case { share: 0.3, bursts: None },
    Case { share: 0.6, bursts: Some((2.0, 200_000, 1_000_000)) },
    Case { share: 0.8, bursts: None },
];

/// Profiles each model, then predicts and measures each load.
pub(crate) fn run(flags: &Flags) -> Result<()> {
    ensure!(flags.server.is_file(), "{} is not built", flags.server.display());
    let mut out = io::stdout().lock();
    let cores = Cores::split(&mut out)?;
    writeln!(
        out,
        "## Predicted and measured latency\n\nA profile of each model by an open loop, then loads \
         that it does not hold; the generator has a core of its own.\n\n\
         | model | load | requests/s | predicted p50 ms | measured | predicted p99 ms | its range \
         | \
         measured | from window to window | ratio | target | |\n\
         |---|---|---:|---:|---:|---:|---|---:|---|---:|---|---|"
    )?;
    let (mut reached, mut all) = (0, 0);
    for name in &flags.models {
        let folder = tempfile::tempdir()?;
        if !install(folder.path(), name, &flags.data)? {
            writeln!(out, "\n{} has no {name}: measured without.\n", flags.data.display())?;
            continue;
        }
        let server = cores.start(|| Server::start(&flags.server, folder.path()))?;
        let rows = PlannedModel::new(&server, name, flags)?.rows(&mut out)?;
        reached += rows.iter().filter(|good| **good).count();
        all += rows.len();
    }
    writeln!(out, "\nWithin {:.0} %: {reached} of {all}.", OFF_MAX * 100.0)?;
    Ok(())
}

/// Installs a model to serve; false if there is no such model.
fn install(folder: &Path, name: &str, data: &Path) -> Result<bool> {
    let layers = match name {
        "small-mlp" => SMALL_MLP,
        "wide-mlp" => WIDE_MLP,
        _ => {
            let real = data.join(name).join("model.onnx");
            return Ok(real.is_file() && engine_under_test::install(folder, name, &real).is_ok());
        }
    };
    install_mlp(folder, name, layers)?;
    Ok(true)
}

/// Model on a server.
struct PlannedModel<'a> {
    name: &'a str,
    flags: &'a Flags,
    target: Target,
    prepared: skysail_loadtest::Prepared,
    objective: Duration,
}

impl<'a> PlannedModel<'a> {
    fn new(server: &Server, name: &'a str, flags: &'a Flags) -> Result<Self> {
        let prepared = server.first_answer(name)?;
        let address = format!("http://{}", server.http).parse()?;
        let target = Target::new(address, Protocol::Binary, name);
        let objective = Duration::from_millis(if name == "small-mlp" { 5 } else { 50 });
        Ok(Self { name, flags, target, prepared, objective })
    }

    fn conditions(&self) -> Conditions<'_> {
        Conditions {
            prepared: &self.prepared,
            target: &self.target,
            connections: CONNECTIONS,
            threads: 1,
            warm_up: Duration::from_millis(500),
            timeout: (self.objective * 20).max(Duration::from_secs(1)),
            objective: self.objective,
        }
    }

    fn objective(&self) -> Objective {
        let ms = self.objective.as_secs_f64() * 1e3;
        Objective { ms, percentile: 99.0, confidence: 95.0 }
    }

    fn profile(&self) -> Result<Profile> {
        progress(format_args!("{}: profile", self.name));
        let options = Options {
            objective: self.objective(),
            precision: 0.1,
            window: Duration::from_secs(self.flags.seconds),
            windows_max: 3,
            from_per_s: None,
            most_per_s: MOST_PER_S,
            curve: true,
            seed: 1,
        };
        let find = |options: &Options| block_on(find(&self.conditions(), options, |_| {}));
        let found = match find(&options)? {
            // Above that rate the generator lacks cores, and the server is not measured.
            Err(Error::Generator { met_per_s: Some(most_per_s), .. }) => {
                find(&Options { most_per_s, ..options })?
            }
            found => found,
        };
        let capacity = found.with_context(|| format!("capacity of {}", self.name))?;
        progress(format_args!("{capacity}"));
        if let Some(folder) = &self.flags.keep {
            std::fs::create_dir_all(folder)?;
            capacity.profile.write(&folder.join(format!("{}.json", self.name)))?;
        }
        Ok(capacity.profile)
    }

    /// Prints a row for each load; true for each accurate prediction.
    fn rows(&self, out: &mut impl Write) -> Result<Vec<bool>> {
        let profile = self.profile()?;
        let traffics = CASES.each_ref().map(|case| case.traffic(profile.capacity_per_s));
        let mut predictions = Vec::new();
        for traffic in &traffics {
            let traffic = traffic.clone();
            let objective = self.objective();
            let request = PlanRequest { traffic, objective, seeds: 8, cost_per_hour: None };
            predictions.push(predict_servers(&profile, &request, 1)?);
        }
        let measured = self.measure(&traffics)?;
        let cases = CASES.iter().zip(&predictions).zip(&measured);
        cases
            .map(|((case, predicted), measured)| self.row(out, case, predicted, measured))
            .collect()
    }

    /// Measures all loads in rounds, so that changes of the machine affect all of them.
    fn measure(&self, traffics: &[Traffic; 3]) -> Result<Vec<Measured>> {
        let mut windows = [const { Vec::new() }; 3];
        for round in 0..WINDOWS as u64 {
            for (number, (traffic, windows)) in traffics.iter().zip(&mut windows).enumerate() {
                let per_s = traffic.mean_per_s();
                progress(format_args!("{}: {per_s:.0} requests/s, {}", self.name, traffic.name()));
                let seed = 1_000_000 + 1_000 * number as u64 + round;
                windows.push(self.window(traffic, seed)?);
            }
        }
        let all = traffics.iter().zip(&windows);
        Ok(all.map(|(traffic, windows)| Measured::of(traffic.mean_per_s(), windows)).collect())
    }

    /// Measures a window in which the generator kept up, in a few attempts.
    fn window(&self, traffic: &Traffic, seed: u64) -> Result<Window> {
        let conditions = self.conditions();
        // Whole periods of every load.
        let seconds = (self.flags.seconds as f64).max(REQUESTS_MIN / traffic.mean_per_s()).ceil();
        let mut tries = 0;
        loop {
            let duration = Duration::from_secs_f64(seconds);
            let window: Window = block_on(conditions.window(traffic.arrivals(), duration, seed))??;
            tries += 1;
            match &window.report.invalid_because {
                Some(reason) if tries < TRIES => progress(format_args!("again, as {reason}")),
                Some(reason) => bail!("{}: no valid window: {reason}", self.name),
                None => return Ok(window),
            }
        }
    }

    fn row(
        &self,
        out: &mut impl Write,
        case: &Case,
        predicted: &Prediction,
        measured: &Measured,
    ) -> Result<bool> {
        let ratio = predicted.latency_ms / measured.p99_ms;
        let is_good = (ratio - 1.0).abs() <= OFF_MAX;
        writeln!(
            out,
            "| {} | {:.0} %{} | {:.0} | {:.2} | {:.2} | {:.2} | {:.2} to {:.2} | {:.2} \
             | {:.2} to {:.2} | {ratio:.2} \
             | {:.1} to {:.1} | {} |",
            self.name,
            case.share * 100.0,
            if case.bursts.is_some() { ", bursts" } else { "" },
            measured.level.per_s,
            predicted.latency_ms_p50,
            measured.level.latency_us.at(0.5) / 1e3,
            predicted.latency_ms,
            predicted.latency_ms_low,
            predicted.latency_ms_high,
            measured.p99_ms,
            measured.least_ms,
            measured.most_ms,
            1.0 - OFF_MAX,
            1.0 + OFF_MAX,
            if is_good { "reached" } else { "MISSED" }
        )?;
        out.flush()?;
        Ok(is_good)
    }
}

impl Case {
    fn traffic(&self, capacity_per_s: f64) -> Traffic {
        let per_s = self.share * capacity_per_s;
        match self.bursts {
            None => Traffic::Poisson { per_s },
            Some((times, on_us, period_us)) => Traffic::Bursts { per_s, times, on_us, period_us },
        }
    }
}

/// Measurements of a load.
struct Measured {
    level: Level,
    p99_ms: f64,
    least_ms: f64,
    most_ms: f64,
}

impl Measured {
    fn of(per_s: f64, windows: &[Window]) -> Self {
        let of_window = |window: &Window| window.report.latency_us(0.99).map(|us| us / 1e3);
        let each: Vec<f64> = windows.iter().filter_map(of_window).collect();
        let level = level(per_s, windows);
        let range = Quantiles::from_values(each);
        // The median excludes a window in which another process had the machine.
        Self { level, p99_ms: range.at(0.5), least_ms: range.at(0.0), most_ms: range.at(1.0) }
    }
}
