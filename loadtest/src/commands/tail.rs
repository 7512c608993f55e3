//! `skysail-load tail`: the slowest and the failed requests of the last minutes, with their causes.

use super::output::Output;
use super::values;
use anyhow::Result;
use clap::Args;
use skysail_loadtest::tail::{Tail, TailTable, read};
use skysail_loadtest::target::Address;
use std::io::{self, Write};
use std::time::Duration;
use tokio::runtime;
use tokio::time::interval;

/// Time limit of a response.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Interval of requests with `--follow`.
const FOLLOW_EVERY: Duration = Duration::from_secs(2);

const EXAMPLES: &str = "\
Examples:
  Slow and failed requests of the last minute:
    skysail-load tail http://127.0.0.1:8000

  The ten slowest requests of one model in the last five minutes, repeated every two seconds:
    skysail-load tail http://127.0.0.1:8000 --model digits --window 5m --rows 10 --follow

Exit codes: 0 done; 1 failed: no server, no such model, or a server without this page; 2 bad
usage.";

/// Show the slowest and the failed requests of the last minutes, with their causes
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Flags {
    /// URL of the server, http://HOST:PORT, of its HTTP or its metrics port
    #[arg(value_name = "URL")]
    url: Address,
    /// Name of the model [default: all models]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Time span to look back, such as 60s or 5m
    #[arg(long, default_value = "60s", value_parser = values::some_duration)]
    window: Duration,
    /// Most requests of each model
    #[arg(long, value_name = "N", default_value = "20")]
    rows: usize,
    /// Repeat every two seconds, until interrupted
    #[arg(long)]
    follow: bool,
    /// Output format
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

/// Queries the server and prints its response.
pub(crate) fn execute(flags: &Flags) -> Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut tick = interval(FOLLOW_EVERY);
        loop {
            tick.tick().await;
            let model = flags.model.as_deref();
            flags.print(&read(&flags.url, model, flags.window, ANSWER_MAX).await?)?;
            if !flags.follow {
                return Ok(());
            }
        }
    })
}

impl Flags {
    fn print(&self, tail: &Tail) -> Result<()> {
        let mut out = io::stdout().lock();
        match self.output {
            Output::Text => {
                write!(out, "{}", TailTable { tail, rows: self.rows })?;
                if self.follow {
                    writeln!(out)?;
                }
            }
            Output::Json => {
                serde_json::to_writer(&mut out, tail)?;
                writeln!(out)?;
            }
        }
        Ok(out.flush()?)
    }
}
