//! `skysail-bench ab`: two builds of the server in alternating runs, so that changes of the
//! machine's speed affect both alike.

use crate::engine_under_test::{WIDE_MLP, install};
use crate::load::{ClosedLoop, Generator, LoadResult};
use crate::process::Server;
use crate::targets::{self, Figure, Target};
use anyhow::{Context, Result, ensure};
use clap::Args;
use skysail_loadtest::quantiles::median;
use skysail_loadtest::target::Protocol;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Least ratio of the new build's throughput to the old one's.
const THROUGHPUT_MIN: f64 = 0.98;
/// Greatest ratio of the new build's CPU time, memory or start time to the old one's.
const COST_MAX: f64 = 1.02;

const EXAMPLES: &str = "\
Examples:
  cargo xtask bench ab --old ../before/skysail-server
  cargo xtask bench ab --old before/skysail-server --new after/skysail-server --rounds 15";

/// Compares two builds of the server
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Flags {
    /// Executable of the build to compare with
    #[arg(long, value_name = "FILE")]
    old: PathBuf,
    /// Executable of the build under test
    #[arg(long, value_name = "FILE", default_value = "target/release/skysail-server")]
    new: PathBuf,
    /// Alternations of each load; each measures both builds once
    #[arg(long, value_name = "N", default_value_t = 9)]
    rounds: usize,
    /// Seconds of one measurement
    #[arg(long, value_name = "S", default_value_t = 1)]
    seconds: u64,
    /// Starts of each build, for the start time and the idle memory
    #[arg(long, value_name = "N", default_value_t = 15)]
    starts: usize,
    /// ONNX file of the small model
    #[arg(long, value_name = "FILE", default_value = "models/digits/1/model.onnx")]
    small: PathBuf,
}

/// Load that both builds are measured under.
#[derive(Clone, Copy)]
struct Case {
    model: &'static str,
    protocol: Protocol,
    connections: usize,
}

const CASES: [Case; 7] = [
    Case { model: "small", protocol: Protocol::Binary, connections: 1 },
    Case { model: "small", protocol: Protocol::Binary, connections: 64 },
    Case { model: "small", protocol: Protocol::Json, connections: 1 },
    Case { model: "small", protocol: Protocol::Json, connections: 64 },
    Case { model: "small", protocol: Protocol::Grpc, connections: 1 },
    Case { model: "small", protocol: Protocol::Grpc, connections: 64 },
    Case { model: "wide", protocol: Protocol::Binary, connections: 64 },
];

/// Runs the benchmark and prints its tables.
pub(crate) fn run(flags: &Flags) -> Result<()> {
    for program in [&flags.old, &flags.new] {
        ensure!(program.is_file(), "{} does not exist", program.display());
    }
    ensure!(flags.rounds > 0 && flags.starts > 0, "--rounds and --starts are above 0");
    let mut out = io::stdout().lock();
    let builds = [Build::new(&flags.old)?, Build::new(&flags.new)?];
    let mut figures = idle(&mut out, flags, &builds)?;
    figures.extend(loads(&mut out, flags, &builds)?);
    writeln!(out, "\n### Targets\n")?;
    targets::print(&mut out, &figures)?;
    Ok(out.flush()?)
}

/// Build of the server, with its own cache for the verdicts of its probes.
struct Build {
    executable: PathBuf,
    cache: TempDir,
}

impl Build {
    fn new(executable: &Path) -> Result<Self> {
        Ok(Self { executable: std::path::absolute(executable)?, cache: tempfile::tempdir()? })
    }

    fn start(&self, models: &Path) -> Result<Server> {
        let mut command = Server::command(&self.executable, models);
        command.env("XDG_CACHE_HOME", self.cache.path());
        Server::run(command)
    }
}

/// Measures start time and idle memory with the small model, the server's defaults, and files that
/// each build has seen before.
fn idle(out: &mut impl Write, flags: &Flags, builds: &[Build; 2]) -> Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    install(folder.path(), "small", &flags.small)?;
    for build in builds {
        build.start(folder.path())?.first_answer("small")?;
    }
    let (mut starts_ms, mut resident_mb) = ([vec![], vec![]], [vec![], vec![]]);
    for round in 0..flags.starts {
        for which in order(round) {
            let server = builds[which].start(folder.path())?;
            server.first_answer("small")?;
            starts_ms[which].push(server.started.elapsed().as_secs_f64() * 1e3);
            resident_mb[which].push(server.resident_mb()?);
        }
    }
    writeln!(out, "## Start and idle memory, the small model alone\n")?;
    writeln!(out, "| what | old | new | new/old |\n|---|---:|---:|---:|")?;
    let mut figures = Vec::new();
    for (what, values) in
        [("start to first response, ms", &starts_ms), ("idle: resident MB", &resident_mb)]
    {
        let [old, new] = values.each_ref().map(|values| median(values));
        let ratio = ratio(values);
        writeln!(out, "| {what} | {old:.1} | {new:.1} | {ratio:.3} |")?;
        figures.push((what.to_owned(), ratio, Target::AtMost(COST_MAX)));
    }
    Ok(figures)
}

/// Measures both builds under each load. Replicas are set, as calibration could choose different
/// ones at each start.
fn loads(out: &mut impl Write, flags: &Flags, builds: &[Build; 2]) -> Result<Vec<Figure>> {
    let cores = std::thread::available_parallelism()?.get();
    let folder = tempfile::tempdir()?;
    let wide = folder.path().join("wide.onnx");
    skysail_graph::mlp(WIDE_MLP, 1)?.save(&wide)?;
    let models = folder.path().join("models");
    for (name, file, count, threads) in
        [("small", &flags.small, cores, 1), ("wide", &wide, 1, cores)]
    {
        let replicas = format!("replicas = {{ count = {count}, threads = {threads} }}\n");
        fs::write(install(&models, name, file)?.join("model.toml"), replicas)?;
    }
    let servers = [builds[0].start(&models)?, builds[1].start(&models)?];
    for server in &servers {
        server.first_answer("small")?;
        server.first_answer("wide")?;
    }
    writeln!(
        out,
        "\n## Closed loops, one row a request: medians of {} rounds of {} s\n\n\
         | model | protocol | connections | old req/s | new req/s | new/old | old CPU us/req | new \
         CPU us/req | new/old | old p99 us | new p99 us |\n\
         |---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
        flags.rounds, flags.seconds
    )?;
    let mut figures = Vec::new();
    for case in CASES {
        let measured = case.measure(&servers, flags, folder.path());
        let measured = measured.with_context(|| case.name())?;
        figures.extend(case.row(out, &measured)?);
        out.flush()?;
    }
    Ok(figures)
}

/// Measurements of one build under one load.
#[derive(Default)]
struct Measured {
    requests_per_s: Vec<f64>,
    p99_us: Vec<f64>,
    answered: f64,
    cpu_s: f64,
}

impl Case {
    fn name(self) -> String {
        format!("{}, {}, {}", self.model, self.protocol.name(), self.connections)
    }

    fn measure(self, servers: &[Server; 2], flags: &Flags, folder: &Path) -> Result<[Measured; 2]> {
        let mut measured = [Measured::default(), Measured::default()];
        for server in servers {
            self.send(server, 1, folder)?;
        }
        for round in 0..flags.rounds {
            for which in order(round) {
                let (server, measured) = (&servers[which], &mut measured[which]);
                let before_s = server.cpu_s()?;
                let result = self.send(server, flags.seconds, folder)?;
                measured.cpu_s += server.cpu_s()? - before_s;
                measured.answered += result.answered;
                measured.requests_per_s.push(result.requests_per_s);
                measured.p99_us.push(result.p99_us);
            }
        }
        Ok(measured)
    }

    fn send(self, server: &Server, seconds: u64, folder: &Path) -> Result<LoadResult> {
        let Self { model, protocol, connections } = self;
        let closed =
            ClosedLoop { address: server.address(protocol), model, protocol, connections, seconds };
        closed.run(Generator::of(protocol), folder)
    }

    fn row(self, out: &mut impl Write, measured: &[Measured; 2]) -> Result<[Figure; 2]> {
        let rates = measured.each_ref().map(|build| build.requests_per_s.clone());
        let throughput = ratio(&rates);
        // The kernel counts in hundredths of a second, so the rounds are summed.
        let [old_us, new_us] = measured.each_ref().map(|m| m.cpu_s / m.answered.max(1.0) * 1e6);
        let cpu = new_us / old_us;
        let [old, new] = rates.each_ref().map(|rates| median(rates));
        let [old_p99, new_p99] = measured.each_ref().map(|build| median(&build.p99_us));
        writeln!(
            out,
            "| {} | {} | {} | {old:.0} | {new:.0} | {throughput:.3} | {old_us:.1} | {new_us:.1} \
             | {cpu:.3} | {old_p99:.0} | {new_p99:.0} |",
            self.model,
            self.protocol.name(),
            self.connections,
        )?;
        let name = self.name();
        Ok([
            (format!("{name}: req/s"), throughput, Target::AtLeast(THROUGHPUT_MIN)),
            (format!("{name}: CPU a request"), cpu, Target::AtMost(COST_MAX)),
        ])
    }
}

/// Order of the two builds in a round; it alternates.
fn order(round: usize) -> [usize; 2] {
    [round % 2, (round + 1) % 2]
}

/// Median ratio of the new build's values to the old one's, round by round.
fn ratio([old, new]: &[Vec<f64>; 2]) -> f64 {
    median(&old.iter().zip(new).map(|(old, new)| new / old).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_slows_down_changes_no_ratio() {
        assert_eq!(ratio(&[vec![100.0, 50.0, 10.0], vec![98.0, 49.0, 9.8]]), 0.98);
    }

    #[test]
    fn builds_alternate() {
        assert_eq!([order(0), order(1), order(2)], [[0, 1], [1, 0], [0, 1]]);
    }
}
