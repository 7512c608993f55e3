//! `skysail-load compare`: two reports beside each other.

use super::output::Output;
use anyhow::{Context, Result};
use clap::Args;
use skysail_loadtest::compare::compare;
use skysail_loadtest::report::Report;
use std::fs;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  Is the new version faster, or was it chance?
    skysail-load run --url http://127.0.0.1:8000 --model digits --output json > before.json
    skysail-load run --url http://127.0.0.1:8000 --model digits --output json > after.json
    skysail-load compare before.json after.json

The range of each ratio comes from how much the intervals inside of each run vary. It does not know
how much the machine changes from one run to the next: take runs in turns where that matters.

Exit codes: 0 done, whether they differ or not; 1 a report cannot be read; 2 bad usage.";

/// The largest report that is read, in bytes.
const REPORT_BYTES_MAX: u64 = 64 << 20;

/// Compares two reports of `run --output json`, and says what is more than chance.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Flags {
    /// The first report
    #[arg(value_name = "A")]
    first: PathBuf,
    /// The second report
    #[arg(value_name = "B")]
    second: PathBuf,
    /// How the comparison is printed
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

/// Reads both reports and prints the comparison.
pub(crate) fn execute(flags: &Flags) -> Result<()> {
    let (first, second) = (read(&flags.first)?, read(&flags.second)?);
    let names = [&flags.first, &flags.second].map(|path| path.display().to_string());
    let comparison = compare([&names[0], &names[1]], &first, &second);
    flags.output.print(&comparison)
}

fn read(path: &Path) -> Result<Report> {
    let name = path.display();
    let size = fs::metadata(path).with_context(|| format!("cannot read {name}"))?.len();
    anyhow::ensure!(size <= REPORT_BYTES_MAX, "{name} is too large to be a report");
    let text = fs::read(path).with_context(|| format!("cannot read {name}"))?;
    let report: Report = serde_json::from_slice(&text).with_context(|| {
        format!("{name} is no report: write it with `skysail-load run --output json`")
    })?;
    anyhow::ensure!(report.requests > 0, "{name} is no report of a run, or one without requests");
    Ok(report)
}
