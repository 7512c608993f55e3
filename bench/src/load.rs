//! Closed loops on the server, by `wrk` where it is installed and speaks the protocol, else by our
//! own load tester. Its client costs more than `wrk`'s, and both run on the server's cores.

use anyhow::{Context, Result, ensure};
use skysail_loadtest::arrival::{Arrival, Window};
use skysail_loadtest::payload::{Payload, Random, Source};
use skysail_loadtest::report::Report;
use skysail_loadtest::target::{Protocol, Target};
use skysail_loadtest::{Load, prepare, run};
use std::fmt::Write;
use std::future::pending;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Load generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generator {
    /// Program `wrk`.
    Wrk,
    /// Library of `skysail-load`.
    SkysailLoad,
}

impl Generator {
    /// Generator for a protocol on this machine.
    pub(crate) fn of(protocol: Protocol) -> Self {
        let has_wrk = || Command::new("wrk").arg("--version").output().is_ok();
        match protocol {
            Protocol::Grpc | Protocol::GrpcStream => Self::SkysailLoad,
            Protocol::Binary | Protocol::Json if has_wrk() => Self::Wrk,
            Protocol::Binary | Protocol::Json => Self::SkysailLoad,
        }
    }

    /// Name of the generator.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Wrk => "wrk",
            Self::SkysailLoad => "skysail-load",
        }
    }
}

/// Closed loop.
pub(crate) struct ClosedLoop<'a> {
    /// `HOST:PORT` of the protocol.
    pub(crate) address: &'a str,
    /// Name of the model.
    pub(crate) model: &'a str,
    /// Protocol of the requests.
    pub(crate) protocol: Protocol,
    /// Connections that send again as soon as they are answered.
    pub(crate) connections: usize,
    /// Duration in seconds.
    pub(crate) seconds: u64,
}

/// Result of a closed loop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoadResult {
    pub(crate) answered: f64,
    pub(crate) requests_per_s: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

impl ClosedLoop<'_> {
    /// Sends the load.
    ///
    /// # Errors
    /// Fails if any request fails.
    pub(crate) fn run(&self, generator: Generator, folder: &Path) -> Result<LoadResult> {
        self.run_with(&row(), generator, folder)
    }

    /// Sends the load with these requests.
    ///
    /// # Errors
    /// Fails if any request fails.
    pub(crate) fn run_with(
        &self,
        source: &Source,
        generator: Generator,
        folder: &Path,
    ) -> Result<LoadResult> {
        match generator {
            Generator::Wrk => self.wrk(source, folder),
            Generator::SkysailLoad => self.skysail_load(source),
        }
    }

    fn skysail_load(&self, source: &Source) -> Result<LoadResult> {
        let load = Load {
            arrival: Arrival::Closed,
            connections: self.connections,
            threads: 1,
            busy_poll: false,
            window: Window { warm_up: Duration::ZERO, duration: Duration::from_secs(self.seconds) },
            timeout: Duration::from_secs(10),
            objective: None,
        };
        let report = drive_with(self.target()?, source, &load)?;
        Ok(LoadResult {
            answered: report.answered as f64,
            requests_per_s: report.requests_per_s,
            p50_us: report.latency_us_p50.unwrap_or_default(),
            p99_us: report.latency_us_p99.unwrap_or_default(),
        })
    }

    fn wrk(&self, source: &Source, folder: &Path) -> Result<LoadResult> {
        let (body, header_length) = self.body(source)?;
        let (body_file, script) = (folder.join("body"), folder.join("wrk.lua"));
        std::fs::write(&body_file, body)?;
        let mut lua = format!(
            "wrk.method = 'POST'\nwrk.body = io.open('{}', 'rb'):read('*a')\n",
            body_file.display()
        );
        if let Some(length) = header_length {
            writeln!(lua, "wrk.headers['Inference-Header-Content-Length'] = '{length}'")?;
        }
        std::fs::write(&script, lua)?;
        let output = Command::new("wrk")
            .args(["-t1", "--latency"])
            .args([format!("-c{}", self.connections), format!("-d{}s", self.seconds)])
            .arg("-s")
            .arg(&script)
            .arg(format!("http://{}/v2/models/{}/infer", self.address, self.model))
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success() && !text.contains("Non-2xx"), "wrk says: {text}");
        read_wrk(&text).with_context(|| format!("wrk says: {text}"))
    }

    /// Encodes a request: its body, and the length of the JSON part where raw elements follow.
    fn body(&self, source: &Source) -> Result<(Vec<u8>, Option<usize>)> {
        let payload = self.payload(source)?;
        if matches!(self.protocol, Protocol::Json) {
            return Ok((payload.to_json()?, None));
        }
        let binary = payload.to_binary()?;
        Ok((binary.body, Some(binary.header_length)))
    }

    /// A request of a source, before it is encoded.
    pub(crate) fn payload(&self, source: &Source) -> Result<Payload> {
        let metadata = block_on(self.target()?.describe())??;
        Ok(source.payload(&metadata)?)
    }

    fn target(&self) -> Result<Target> {
        let address = format!("http://{}", self.address).parse()?;
        Ok(Target::new(address, self.protocol, self.model))
    }
}

/// Puts a load on a model with random inputs; every request must be answered.
pub(crate) fn drive(target: Target, load: &Load) -> Result<Report> {
    drive_with(target, &row(), load)
}

/// Puts a load on a model with requests of a source; every request must be answered.
fn drive_with(target: Target, source: &Source, load: &Load) -> Result<Report> {
    let report = block_on(async {
        let prepared = prepare(target, source, load.timeout).await?;
        run(&prepared, load, pending(), |_| {}).await
    })??;
    ensure!(report.failed == 0, "{} requests failed: {:?}", report.failed, report.failures);
    Ok(report)
}

/// Source of one row of random inputs.
pub(crate) fn row() -> Source {
    Source::Random(Random { rows: 1, shapes: Vec::new(), seed: 1 })
}

/// Runs a future to its end on this thread.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> Result<T> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future))
}

/// Parses the output of `wrk --latency`.
fn read_wrk(text: &str) -> Option<LoadResult> {
    let word_after = |mark: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(mark))?;
        line.trim_start().strip_prefix(mark)?.split_whitespace().next()
    };
    let answered = text.lines().find(|line| line.contains(" requests in "))?;
    Some(LoadResult {
        answered: answered.split_whitespace().next()?.parse().ok()?,
        requests_per_s: word_after("Requests/sec:")?.parse().ok()?,
        p50_us: microseconds(word_after("50%")?)?,
        p99_us: microseconds(word_after("99%")?)?,
    })
}

/// Parses `1.50ms` as 1500.
fn microseconds(text: &str) -> Option<f64> {
    let units = [("us", 1.0), ("ms", 1e3), ("s", 1e6)];
    let (number, factor) =
        units.iter().find_map(|(unit, f)| Some((text.strip_suffix(unit)?, f)))?;
    Some(number.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_of_wrk_is_parsed() {
        let text = "  Latency Distribution\n     50%  571.00us\n     99%    1.42ms\n  \
                    364000 requests in 4.00s, 100MB read\nRequests/sec:  90997.01\n";
        let seen = read_wrk(text).unwrap();
        assert_eq!((seen.answered, seen.p50_us, seen.p99_us), (364_000.0, 571.0, 1420.0));
        assert!(read_wrk("unable to connect").is_none());
    }
}
