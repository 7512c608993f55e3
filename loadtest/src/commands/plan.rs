//! `skysail-load plan`: how many servers a load needs, from a capacity profile.

use super::output::Output;
use super::shares::{self, Bursts};
use super::values;
use anyhow::Result;
use clap::{ArgGroup, Args};
use skysail_loadtest::arrival::trace::{self, Unit};
use skysail_loadtest::plan::{Answer, Question, Traffic, answer};
use skysail_loadtest::profile::{Objective, Profile};
use std::path::PathBuf;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  Measure one server first:
    skysail-load capacity --url http://127.0.0.1:8000 --model digits --objective-ms 20 \\
      --profile digits.json

  How many of them do 100,000 requests a second need, and what do a million requests cost?
    skysail-load plan --profile digits.json --rate 100000 --cost-per-hour 0.40

  With five times as many requests during the last 200 ms of every 2 s, at the same mean rate:
    skysail-load plan --profile digits.json --rate 100000 --burstiness 5,200ms,2s

  For requests as they were recorded (a file with one time a line), and another objective:
    skysail-load plan --profile digits.json --trace times.txt --objective-ms 50

A server here is one like that which was measured, with all its replicas. The engine's own scheduler
runs under simulated time with the measured run times and the measured time outside of the engine.

Exit codes: 0 done; 1 failed: no profile, or an objective that no number of servers keeps; 2 bad
usage.";

/// Answers how many servers a load needs.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(group = ArgGroup::new("load").required(true).args(["rate", "trace"]))]
pub(crate) struct Flags {
    /// What `skysail-load capacity --profile` has written
    #[arg(long, value_name = "FILE")]
    profile: PathBuf,
    /// Requests a second of all servers together, on average
    #[arg(long, value_name = "R", value_parser = shares::total_rate)]
    rate: Option<f64>,
    /// How they come in bursts: TIMES as many during the last ON of every PERIOD [default: none,
    /// they come independently of each other]
    #[arg(long, value_name = "TIMES,ON,PERIOD", value_parser = shares::bursts,
        conflicts_with = "trace")]
    burstiness: Option<Bursts>,
    /// A file with the times of requests, one a line
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// The unit of those times
    #[arg(long, value_name = "UNIT", default_value = "s", requires = "trace",
        value_parser = values::unit)]
    trace_unit: Unit,
    /// How many times as fast the recording is played
    #[arg(long, value_name = "X", default_value = "1", requires = "trace",
        value_parser = values::speed)]
    trace_speed: f64,

    /// How soon an answer should be there [default: the profile's objective]
    #[arg(long, value_name = "MS", value_parser = values::objective_ms)]
    objective_ms: Option<Duration>,
    /// For how many of the requests, in hundredths [default: the profile's]
    #[arg(long, value_name = "P", value_parser = shares::percentile)]
    percentile: Option<f64>,
    /// How sure it is to be, in hundredths
    #[arg(long, value_name = "C", default_value = "95", value_parser = shares::confidence)]
    confidence: f64,
    /// What one server costs an hour, in any currency
    #[arg(long, value_name = "COST", value_parser = shares::cost)]
    cost_per_hour: Option<f64>,
    /// Simulations of each number of servers
    #[arg(long, value_name = "N", default_value = "8",
        value_parser = clap::value_parser!(u64).range(2..=1000))]
    simulations: u64,
    /// How the answer is printed
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

/// Reads the profile and prints the plan.
pub(crate) fn execute(flags: &Flags) -> Result<()> {
    let profile = Profile::read(&flags.profile)?;
    let question = flags.question(&profile)?;
    let answer: Answer = answer(&profile, &question)?;
    flags.output.print(&answer)
}

impl Flags {
    fn question(&self, profile: &Profile) -> Result<Question> {
        let of_profile = profile.objective;
        Ok(Question {
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
        // The group of flags sees to it that there is one.
        let per_s = self.rate.unwrap_or_default();
        Ok(match self.burstiness {
            Some(bursts) => bursts.traffic(per_s),
            None => Traffic::Poisson { per_s },
        })
    }
}
