//! `skysail-load plan`: the number of servers that a load needs, from a capacity profile.

use super::output::Output;
use super::shares::{self, Bursts};
use super::values;
use anyhow::Result;
use clap::{ArgGroup, Args};
use skysail_loadtest::plan::{Plan, PlanRequest, Traffic, plan};
use skysail_loadtest::profile::{Objective, Profile};
use skysail_loadtest::trace::{self, Unit};
use std::path::PathBuf;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  Measure one server first:
    skysail-load capacity --url http://127.0.0.1:8000 --model digits --objective-ms 20 \\
      --profile digits.json

  The number of servers for 100,000 requests a second, and the cost of a million requests:
    skysail-load plan --profile digits.json --rate 100000 --cost-per-hour 0.40

  Bursts of five times the rate during the last 200 ms of every 2 s, at the same mean rate:
    skysail-load plan --profile digits.json --rate 100000 --burstiness 5,200ms,2s

  Recorded arrivals (a file with one time a line), and another objective:
    skysail-load plan --profile digits.json --trace times.txt --objective-ms 50

A server is one like the measured one, with all its replicas. The engine's own scheduler is
simulated with the measured run times and the measured time outside the engine.

Exit codes: 0 done; 1 failed: no profile, or an objective that no number of servers meets; 2 bad
usage.";

/// Plan how many servers a load needs
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(group = ArgGroup::new("load").required(true).args(["rate", "trace"]))]
pub(crate) struct Flags {
    /// Capacity profile, as `skysail-load capacity --profile FILE` writes it
    #[arg(long, value_name = "FILE")]
    profile: PathBuf,
    /// Mean requests a second, over all servers together
    #[arg(long, value_name = "R", value_parser = shares::total_rate)]
    rate: Option<f64>,
    /// Bursts: TIMES the rate during the last ON of every PERIOD, such as 5,200ms,2s [default:
    /// none, Poisson arrivals]
    #[arg(long, value_name = "TIMES,ON,PERIOD", value_parser = shares::bursts,
        conflicts_with = "trace")]
    burstiness: Option<Bursts>,
    /// File with recorded arrival times, one a line (number, CSV row, or JSON object)
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Unit of plain numbers in the recording: s, ms, us or ns
    #[arg(long, value_name = "UNIT", default_value = "s", requires = "trace",
        value_parser = values::unit)]
    trace_unit: Unit,
    /// Speed at which the recording is played: 2 is twice as fast
    #[arg(long, value_name = "X", default_value = "1", requires = "trace",
        value_parser = values::speed)]
    trace_speed: f64,

    /// Latency objective, in milliseconds [default: the profile's]
    #[arg(long, value_name = "MS", value_parser = values::objective_ms)]
    objective_ms: Option<Duration>,
    /// Percentage of the requests that must be answered within the objective, 50 to 99.99 [default:
    /// the profile's]
    #[arg(long, value_name = "P", value_parser = shares::percentile)]
    percentile: Option<f64>,
    /// Confidence that the plan meets the objective, in percent, 50 to 99.99
    #[arg(long, value_name = "C", default_value = "95", value_parser = shares::confidence)]
    confidence: f64,
    /// Cost of one server an hour, in any currency
    #[arg(long, value_name = "COST", value_parser = shares::cost)]
    cost_per_hour: Option<f64>,
    /// Simulations of each number of servers, 2 to 1000
    #[arg(long, value_name = "N", default_value = "8",
        value_parser = clap::value_parser!(u64).range(2..=1000))]
    simulations: u64,
    /// Format of the plan
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

/// Reads the profile and prints the plan.
pub(crate) fn execute(flags: &Flags) -> Result<()> {
    let profile = Profile::read(&flags.profile)?;
    let request = flags.request(&profile)?;
    let plan: Plan = plan(&profile, &request)?;
    flags.output.print(&plan)
}

impl Flags {
    fn request(&self, profile: &Profile) -> Result<PlanRequest> {
        let of_profile = profile.objective;
        Ok(PlanRequest {
            traffic: self.traffic()?,
            objective: Objective {
                ms: self.objective_ms.map_or(of_profile.ms, |time| time.as_secs_f64() * 1e3),
                percentile: self.percentile.unwrap_or(of_profile.percentile),
                confidence: self.confidence,
            },
            seeds: self.simulations,
            cost_per_hour: self.cost_per_hour,
        })
    }

    fn traffic(&self) -> Result<Traffic> {
        if let Some(path) = &self.trace {
            let times_us = trace::read(path, self.trace_unit, self.trace_speed)?;
            return Ok(Traffic::Recorded(times_us));
        }
        // The group of flags ensures that there is one.
        let per_s = self.rate.unwrap_or_default();
        Ok(match self.burstiness {
            Some(bursts) => bursts.traffic(per_s),
            None => Traffic::Poisson { per_s },
        })
    }
}
