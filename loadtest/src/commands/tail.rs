//! `skysail-load tail`: the slowest and the failed requests of the last minutes, and why.

use super::output::Output;
use super::values;
use anyhow::Result;
use clap::Args;
use skysail_loadtest::tail::{Table, Tail, read};
use skysail_loadtest::target::Address;
use std::io::{self, Write};
use std::time::Duration;
use tokio::runtime;
use tokio::time::interval;

/// What the server may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How often it is asked when somebody follows.
const FOLLOW_EVERY: Duration = Duration::from_secs(2);

const EXAMPLES: &str = "\
Examples:
  Why were requests slow, or not answered, in the last minute?
    skysail-load tail http://127.0.0.1:8000

  One model, the last five minutes, the ten slowest, again every two seconds:
    skysail-load tail http://127.0.0.1:8000 --model digits --window 5m --rows 10 --follow

Exit codes: 0 done; 1 failed: no server, no such model, or a server that does not tell; 2 bad
usage.";

/// Shows the slowest and the failed requests of the last minutes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Flags {
    /// The server: http://HOST:PORT, its HTTP or its metrics port
    #[arg(value_name = "URL")]
    url: Address,
    /// Only this model
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// How far back
    #[arg(long, default_value = "60s", value_parser = values::some_duration)]
    window: Duration,
    /// Requests of each model, at most
    #[arg(long, value_name = "N", default_value = "20")]
    rows: usize,
    /// Again every two seconds, until interrupted
    #[arg(long)]
    follow: bool,
    /// How it is printed
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

/// Asks the server and prints its answer.
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
                write!(out, "{}", Table { tail, rows: self.rows })?;
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
