//! Bodies of different sizes through an identity model, relative to memcpy of both.

use super::Bench;
use crate::alternation::{Side, alternate_all, ratio};
use crate::engine_under_test::install_model;
use crate::load::ClosedLoop;
use crate::targets::{Figures, Target};
use anyhow::Result;
use skysail_graph::{Dim, ElementType, GraphBuilder, Model};
use skysail_loadtest::quantiles::median;
use skysail_loadtest::target::Protocol;
use std::hint::black_box;
use std::io::Write;
use std::time::{Duration, Instant};

/// Smallest body that is compared with memcpy.
const COMPARED_BYTES_MIN: u64 = 1_000_000;
/// Least bytes a second in and out, relative to memcpy of both.
const OF_MEMCPY_MIN: f64 = 0.6;
/// Number of connections.
const CONNECTIONS: usize = 8;
/// Buffer that memcpy walks through, larger than caches.
const BUFFER_BYTES: usize = 128 << 20;

pub(super) fn table(out: &mut impl Write, bench: &Bench) -> Result<Figures> {
    let folder = tempfile::tempdir()?;
    for elements in bench.extent.elements {
        install_model(folder.path(), &name(*elements), &identity(*elements)?)?;
    }
    let servers = bench.start(folder.path(), &[])?;
    let mut copied = Copied::new();
    writeln!(
        out,
        "{CONNECTIONS} connections; MB/s are those of bodies in and out.\n\n\
         | body | protocol | build | req/s | MB/s | memcpy MB/s | relative to it |\n\
         |---|---|---|---:|---:|---:|---:|"
    )?;
    let mut figures = Figures::new();
    for &elements in bench.extent.elements {
        for protocol in [Protocol::Binary, Protocol::Grpc] {
            let name = name(elements);
            let models = [&*name];
            let duration = bench.extent.duration;
            let closed =
                ClosedLoop { models: &models, protocol, connections: CONNECTIONS, duration };
            servers.iter().try_for_each(|server| closed.warm_up(server))?;
            let bytes = elements as f64 * 8.0;
            let mut sides: Vec<Side<'_, f64>> = Vec::new();
            for server in &servers {
                let rate = || Ok(closed.run(server.address(protocol))?.requests_per_s * bytes);
                sides.push(Box::new(rate));
            }
            sides.push(Box::new(|| copied.bytes_per_s(usize::try_from(elements)? * 4, duration)));
            let measured = alternate_all(bench.extent.rounds, &mut sides, |side| side())?;
            let (builds, copies) = measured.split_at(servers.len());
            for (build, speeds) in bench.builds.iter().zip(builds) {
                let (speed, copy) = (median(speeds), median(&copies[0]));
                let (rate, ratio) = (speed / bytes, ratio(speeds, &copies[0]));
                writeln!(
                    out,
                    "| {name} | {} | {} | {rate:.0} | {:.0} | {:.0} | {ratio:.2} |",
                    protocol.name(),
                    build.name,
                    speed / 1e6,
                    copy / 1e6,
                )?;
                if build.is_new() && elements * 4 >= COMPARED_BYTES_MIN {
                    let what = format!("{name}, {}: relative to memcpy", protocol.name());
                    figures.push((what, ratio, Target::AtLeast(OF_MEMCPY_MIN)));
                }
            }
        }
    }
    Ok(figures)
}

/// Name of the model with bodies of so many elements, such as `100kB`.
fn name(elements: u64) -> String {
    let kilobytes = elements * 4 / 1_000;
    if kilobytes < 1_000 { format!("{kilobytes}kB") } else { format!("{}MB", kilobytes / 1_000) }
}

/// Model that returns its input.
fn identity(elements: u64) -> Result<Model> {
    let dims = [Dim::from("batch"), Dim::Fixed(elements)];
    let mut graph = GraphBuilder::new("identity");
    graph
        .input("input", ElementType::Float32, &dims)
        .node("Identity", &["input"], &["output"], &[])
        .output("output", ElementType::Float32, &dims);
    Ok(graph.finish()?)
}

/// Buffers for memcpy.
struct Copied {
    from: Vec<u8>,
    to: Vec<u8>,
}

impl Copied {
    fn new() -> Self {
        Self { from: vec![1; BUFFER_BYTES], to: vec![2; BUFFER_BYTES] }
    }

    /// Speed of one thread that copies bodies of this size, one after another.
    fn bytes_per_s(&mut self, size: usize, duration: Duration) -> Result<f64> {
        let mut bytes = 0;
        let started = Instant::now();
        while started.elapsed() < duration {
            for (to, from) in self.to.chunks_exact_mut(size).zip(self.from.chunks_exact(size)) {
                to.copy_from_slice(black_box(from));
                black_box(&to);
                bytes += size;
            }
        }
        Ok(bytes as f64 / started.elapsed().as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_called_by_the_size_of_their_bodies() {
        assert_eq!([250, 25_000, 250_000, 2_500_000].map(name), ["1kB", "100kB", "1MB", "10MB"]);
    }
}
