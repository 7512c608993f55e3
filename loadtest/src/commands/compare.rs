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
  Two runs, one before and one after a change:
    skysail-load run --url http://127.0.0.1:8000 --model digits --output json > before.json
    skysail-load run --url http://127.0.0.1:8000 --model digits --output json > after.json
    skysail-load compare before.json after.json

The range of each ratio comes from the variation between the intervals of each run. It does not
include changes of the machine from one run to the next: alternate the runs where that matters.

Exit codes: 0 done, whether they differ or not; 1 a report cannot be read; 2 bad usage.";

/// Largest report that is read, in bytes.
const REPORT_BYTES_MAX: u64 = 64 << 20;

/// Compare two reports of `run --output json`, and mark differences larger than chance
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Flags {
    /// JSON report of the first run
    #[arg(value_name = "A")]
    first: PathBuf,
    /// JSON report of the second run
    #[arg(value_name = "B")]
    second: PathBuf,
    /// Format of the comparison
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
        format!("{name} is not a report: write it with `skysail-load run --output json`")
    })?;
    anyhow::ensure!(
        report.requests > 0,
        "{name} is not a report of a run, or a report without requests"
    );
    Ok(report)
}
