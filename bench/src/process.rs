//! Server process under test, on free ports, with its use of resources.

use crate::http;
use crate::load::{block_on, row, wait};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use skysail_loadtest::target::{Protocol, Target};
use skysail_loadtest::{Prepared, prepare};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Time limit until the server reports its addresses.
const START_MAX: Duration = Duration::from_secs(30);

/// Time limit until the server answers.
const FIRST_ANSWER_MAX: Duration = Duration::from_secs(30);

/// Time limit until all models serve.
const READY_MAX: Duration = Duration::from_secs(300);

/// Clock ticks a second of the kernel: `sysconf(_SC_CLK_TCK)` is 100 on every Linux.
const TICKS_PER_S: f64 = 100.0;

/// Running server, ended when dropped.
pub(crate) struct Server {
    child: Child,
    /// Address of HTTP.
    pub(crate) http: String,
    /// Address of gRPC.
    pub(crate) grpc: String,
    /// Time of its start.
    pub(crate) started: Instant,
}

impl Server {
    /// Starts the server with its defaults.
    pub(crate) fn start(executable: &Path, models: &Path) -> Result<Self> {
        Self::start_with(executable, models, &[])
    }

    /// Starts the server with further flags.
    pub(crate) fn start_with(executable: &Path, models: &Path, flags: &[&str]) -> Result<Self> {
        let mut command = Self::command(executable, models);
        command.args(flags);
        Self::run(command)
    }

    /// Builds the command line of a server with its defaults, on ports that are free.
    pub(crate) fn command(executable: &Path, models: &Path) -> Command {
        let mut command = Command::new(executable);
        command
            .args(["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--metrics", "127.0.0.1:0"])
            .arg("--models")
            .arg(models);
        command
    }

    /// Starts the server with a command line.
    pub(crate) fn run(mut command: Command) -> Result<Self> {
        let started = Instant::now();
        let mut child = command
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} does not start", command.get_program().display()))?;
        let log = child.stderr.take().context("the server has no standard error")?;
        let mut lines = BufReader::new(log).lines();
        while let Some(Ok(line)) = lines.next() {
            if started.elapsed() > START_MAX {
                break;
            }
            if let (Some(http), Some(grpc)) = (after(&line, "HTTP on "), after(&line, "gRPC on ")) {
                // Its log is read on, or the server would block when the pipe is full.
                std::thread::spawn(move || lines.for_each(drop));
                return Ok(Self { child, http, grpc, started });
            }
        }
        drop(child.kill());
        bail!("the server does not say where it listens");
    }

    /// Sends inference requests of one row until one is answered, and returns the prepared request.
    pub(crate) fn first_answer(&self, model: &str) -> Result<Prepared> {
        block_on(async {
            loop {
                let address = format!("http://{}", self.http).parse()?;
                let target = Target::new(address, Protocol::Binary, model);
                match prepare(target, &row(), Duration::from_secs(1)).await {
                    Ok(prepared) => return Ok(prepared),
                    Err(error) if self.started.elapsed() > FIRST_ANSWER_MAX => {
                        return Err(error).context("no first answer");
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
                }
            }
        })?
    }

    /// Waits until all models serve.
    pub(crate) fn wait_ready(&self) -> Result<()> {
        while let Err(error) = http::get(&self.http, "/v2/health/ready") {
            ensure!(self.started.elapsed() < READY_MAX, "the server is not ready: {error:#}");
            wait(Duration::from_millis(5))?;
        }
        Ok(())
    }

    /// Number and threads of a model's replicas.
    pub(crate) fn replicas(&self, model: &str) -> Result<(usize, usize)> {
        let config = http::get(&self.http, &format!("/v2/models/{model}/config"))?;
        let config: Value = serde_json::from_str(&config)?;
        let count = config["instance_group"][0]["count"].as_u64();
        let threads = config["parameters"]["intra_op_thread_count"]["string_value"].as_str();
        let count = count.context("the configuration has no count")?.try_into()?;
        Ok((count, threads.context("the configuration has no threads")?.parse()?))
    }

    /// `HOST:PORT` of a protocol.
    pub(crate) fn address(&self, protocol: Protocol) -> &str {
        if protocol.is_http() { &self.http } else { &self.grpc }
    }

    /// CPU time used so far, in seconds.
    pub(crate) fn cpu_s(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks =
            fields.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<f64>().ok());
        Ok(ticks.sum::<f64>() / TICKS_PER_S)
    }

    /// Resident memory, in MB.
    pub(crate) fn resident_mb(&self) -> Result<f64> {
        resident_mb(self.child.id())
    }

    /// Resident memory after a rest, in MB. Some memory is given back late.
    pub(crate) fn resident_mb_after(&self, rest: Duration) -> Result<f64> {
        wait(rest)?;
        self.resident_mb()
    }

    /// Number of threads.
    pub(crate) fn threads(&self) -> Result<f64> {
        status(self.child.id(), "Threads:")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The server may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Resident memory of a process, in MB.
pub(crate) fn resident_mb(process: u32) -> Result<f64> {
    Ok(status(process, "VmRSS:")? / 1024.0)
}

/// Number in the line of a process's status that begins with `mark`.
fn status(process: u32, mark: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(mark));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.with_context(|| format!("the process has no {mark}"))
}

/// Word after `mark` in a line.
fn after(line: &str, mark: &str) -> Option<String> {
    let rest = line.split(mark).nth(1)?;
    let word = rest.split([' ', ',']).next()?;
    Some(word.to_owned())
}
