//! Two builds of the server under the same closed loop: rows of a table, and ratios beside targets.

use crate::alternation::{alternate, ratio};
use crate::load::{ClosedLoop, cpu_us, each, median_of};
use crate::process::Server;
use crate::targets::{Figure, Target};
use anyhow::{Context, Result};
use std::io::Write;

/// Targets of the new build relative to the old one.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    /// Least throughput.
    pub(crate) throughput_min: f64,
    /// Greatest CPU time of a request.
    pub(crate) cpu_max: f64,
}

/// Prints the head of the table.
pub(crate) fn head(out: &mut impl Write) -> Result<()> {
    writeln!(
        out,
        "| model | protocol | connections | old req/s | new req/s | new/old | old CPU us/req | new \
         CPU us/req | new/old | old p99 us | new p99 us |\n\
         |---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
    )?;
    Ok(())
}

/// Measures the old and the new build in turn, and prints a row.
pub(crate) fn row(
    out: &mut impl Write,
    servers: [&Server; 2],
    closed: &ClosedLoop<'_>,
    rounds: usize,
    bounds: Bounds,
) -> Result<[Figure; 2]> {
    let model = closed.models.join("+");
    let (protocol, connections) = (closed.protocol.name(), closed.connections);
    let name = format!("{model}, {protocol}, {connections}");
    servers.iter().try_for_each(|server| closed.warm_up(server)).with_context(|| name.clone())?;
    let builds = alternate(rounds, servers, |server| closed.on(server));
    let builds = builds.with_context(|| name.clone())?;
    let rates = builds.each_ref().map(|rounds| each(rounds, |load| load.requests_per_s));
    let throughput = ratio(&rates[1], &rates[0]);
    let [old_us, new_us] = builds.each_ref().map(|rounds| cpu_us(rounds));
    let cpu = new_us / old_us;
    let [old, new] = builds.each_ref().map(|rounds| median_of(rounds, |load| load.requests_per_s));
    let [old_p99, new_p99] = builds.each_ref().map(|rounds| median_of(rounds, |load| load.p99_us));
    writeln!(
        out,
        "| {model} | {protocol} | {connections} | {old:.0} | {new:.0} | {throughput:.3} | {old_us:.1} \
         | {new_us:.1} | {cpu:.3} | {old_p99:.0} | {new_p99:.0} |",
    )?;
    out.flush()?;
    Ok([
        (format!("{name}: req/s, new/old"), throughput, Target::AtLeast(bounds.throughput_min)),
        (format!("{name}: CPU a request, new/old"), cpu, Target::AtMost(bounds.cpu_max)),
    ])
}
