//! Closed loops on the server, by `wrk` where it is installed and speaks the protocol, else by our
//! own load tester. Its client costs more than `wrk`'s, and both run on the server's cores.

mod wrk;

use crate::process::Server;
use anyhow::{Context, Result, ensure};
use skysail_loadtest::arrival::{Arrival, Window};
use skysail_loadtest::payload::{Payload, Random, Source};
use skysail_loadtest::quantiles::median;
use skysail_loadtest::report::Report;
use skysail_loadtest::target::{Protocol, Target};
use skysail_loadtest::{Load, RequestKind, prepare, prepare_mix, run};
use std::future::pending;
use std::time::Duration;

/// Time limit of a request.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Load generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generator {
    /// Program `wrk`.
    Wrk,
    /// Library of `skysail-load`.
    SkysailLoad,
}

impl Generator {
    /// Name of the generator.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Wrk => "wrk",
            Self::SkysailLoad => "skysail-load",
        }
    }
}

/// Closed loop: each connection sends again as soon as it is answered.
#[derive(Clone, Copy)]
pub(crate) struct ClosedLoop<'a> {
    /// Names of the models, at least one; each request goes to one of them at random.
    pub(crate) models: &'a [&'a str],
    /// Protocol of the requests.
    pub(crate) protocol: Protocol,
    /// Number of connections.
    pub(crate) connections: usize,
    /// Duration of the load.
    pub(crate) duration: Duration,
}

/// Result of a closed loop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoadResult {
    pub(crate) answered: f64,
    pub(crate) requests_per_s: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Fewest responses of a connection relative to the mean; `None` from `wrk`.
    pub(crate) slowest_connection_share: Option<f64>,
}

/// Result of a closed loop, with the CPU time that the server used for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Served {
    pub(crate) load: LoadResult,
    cpu_s: f64,
}

/// CPU time of a request over all rounds, in microseconds. The kernel counts in hundredths of a
/// second, so the rounds are summed.
pub(crate) fn cpu_us(rounds: &[Served]) -> f64 {
    let answered: f64 = rounds.iter().map(|round| round.load.answered).sum();
    rounds.iter().map(|round| round.cpu_s).sum::<f64>() / answered.max(1.0) * 1e6
}

/// A figure of each round.
pub(crate) fn each(rounds: &[Served], figure: fn(&LoadResult) -> f64) -> Vec<f64> {
    rounds.iter().map(|round| figure(&round.load)).collect()
}

/// Median of a figure of each round.
pub(crate) fn median_of(rounds: &[Served], figure: fn(&LoadResult) -> f64) -> f64 {
    median(&each(rounds, figure))
}

impl ClosedLoop<'_> {
    /// Generator of this load on this machine. `wrk` counts in whole seconds.
    pub(crate) fn generator(&self) -> Generator {
        let is_for_wrk = self.protocol.is_http() && self.duration.subsec_nanos() == 0;
        if is_for_wrk && wrk::is_installed() { Generator::Wrk } else { Generator::SkysailLoad }
    }

    /// Sends the load to `HOST:PORT`.
    ///
    /// # Errors
    /// Fails if any request fails.
    pub(crate) fn run(&self, address: &str) -> Result<LoadResult> {
        self.run_by(self.generator(), address)
    }

    /// Sends the load by a generator.
    ///
    /// # Errors
    /// Fails if any request fails.
    pub(crate) fn run_by(&self, generator: Generator, address: &str) -> Result<LoadResult> {
        self.run_with(&row(), generator, address)
    }

    /// Sends the load with these requests.
    ///
    /// # Errors
    /// Fails if any request fails.
    pub(crate) fn run_with(
        &self,
        source: &Source,
        generator: Generator,
        address: &str,
    ) -> Result<LoadResult> {
        match generator {
            Generator::Wrk => wrk::run(self, source, address),
            Generator::SkysailLoad => self.skysail_load(source, address),
        }
    }

    /// Sends the load to a server.
    ///
    /// # Errors
    /// Fails if any request fails.
    pub(crate) fn on(&self, server: &Server) -> Result<Served> {
        self.on_by(self.generator(), server)
    }

    /// Sends the load to a server by a generator.
    ///
    /// # Errors
    /// Fails if any request fails.
    pub(crate) fn on_by(&self, generator: Generator, server: &Server) -> Result<Served> {
        let before_s = server.cpu_s()?;
        let load = self.run_by(generator, server.address(self.protocol))?;
        Ok(Served { load, cpu_s: server.cpu_s()? - before_s })
    }

    /// Sends the load to a server for a second at most, before it is measured.
    ///
    /// # Errors
    /// Fails if any request fails.
    pub(crate) fn warm_up(&self, server: &Server) -> Result<()> {
        let duration = self.duration.min(Duration::from_secs(1));
        let load = ClosedLoop { duration, ..*self };
        load.run(server.address(self.protocol)).map(drop)
    }

    fn skysail_load(&self, source: &Source, address: &str) -> Result<LoadResult> {
        let load = Load {
            arrival: Arrival::Closed,
            connections: self.connections,
            threads: 1,
            busy_poll: false,
            window: Window { warm_up: Duration::ZERO, duration: self.duration },
            timeout: TIMEOUT,
            objective: None,
        };
        let server = self.target(address)?.server();
        let kind = |model: &&str| RequestKind {
            model: (*model).to_owned(),
            version: None,
            source: source.clone(),
            weight: 1.0,
        };
        let kinds: Vec<RequestKind> = self.models.iter().map(kind).collect();
        let report = block_on(async {
            let prepared = prepare_mix(&server, &kinds, load.timeout).await?;
            run(&prepared, &load, pending(), |_| {}).await
        })??;
        let report = all_answered(report)?;
        Ok(LoadResult {
            answered: report.answered as f64,
            requests_per_s: report.requests_per_s,
            p50_us: report.latency_us_p50.unwrap_or_default(),
            p99_us: report.latency_us_p99.unwrap_or_default(),
            slowest_connection_share: report.slowest_connection_share,
        })
    }

    /// Encodes a request of HTTP: its body, and the length of the JSON part where raw elements
    /// follow.
    fn body(&self, source: &Source, address: &str) -> Result<(Vec<u8>, Option<usize>)> {
        let payload = self.payload(source, address)?;
        if matches!(self.protocol, Protocol::Json) {
            return Ok((payload.to_json()?, None));
        }
        let binary = payload.to_binary()?;
        Ok((binary.body, Some(binary.header_length)))
    }

    /// Bytes of a request of HTTP/1.1 to the first model, with one row of random inputs.
    pub(crate) fn request_bytes(&self, address: &str) -> Result<Vec<u8>> {
        let (body, header_length) = self.body(&row(), address)?;
        let model = self.models.first().context("no model")?;
        let header = header_length
            .map(|length| format!("Inference-Header-Content-Length: {length}\r\n"))
            .unwrap_or_default();
        let head = format!(
            "POST /v2/models/{model}/infer HTTP/1.1\r\nHost: {address}\r\n{header}\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        Ok([head.as_bytes(), &body].concat())
    }

    /// A request of a source to the first model, before it is encoded.
    pub(crate) fn payload(&self, source: &Source, address: &str) -> Result<Payload> {
        let metadata = block_on(self.target(address)?.describe())??;
        Ok(source.payload(&metadata)?)
    }

    fn target(&self, address: &str) -> Result<Target> {
        let model = self.models.first().context("no model")?;
        Ok(Target::new(format!("http://{address}").parse()?, self.protocol, *model))
    }
}

/// Puts a load on a model with random inputs; every request must be answered.
pub(crate) fn drive(target: Target, load: &Load) -> Result<Report> {
    let report = block_on(async {
        let prepared = prepare(target, &row(), load.timeout).await?;
        run(&prepared, load, pending(), |_| {}).await
    })??;
    all_answered(report)
}

fn all_answered(report: Report) -> Result<Report> {
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

/// Waits while a server works or rests by itself.
pub(crate) fn wait(duration: Duration) -> Result<()> {
    // A timer is made inside the runtime.
    block_on(async { tokio::time::sleep(duration).await })
}
