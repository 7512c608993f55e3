//! Closed loops on the server, by `wrk` where it is installed and speaks the protocol, else by our
//! own load tester. Its client costs more than `wrk`'s, and both run on the server's cores.

use anyhow::{Context, Result, ensure};
use skysail_loadtest::arrival::{Arrival, Window};
use skysail_loadtest::payload::{Random, Source};
use skysail_loadtest::report::Report;
use skysail_loadtest::target::{Protocol, Target};
use skysail_loadtest::{Load, prepare, run};
use std::fmt::Write;
use std::future::pending;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// What asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generator {
    /// The program `wrk`.
    Wrk,
    /// The library of `skysail-load`.
    SkysailLoad,
}

impl Generator {
    /// The one for a protocol on this machine.
    pub(crate) fn of(protocol: Protocol) -> Self {
        let has_wrk = || Command::new("wrk").arg("--version").output().is_ok();
        match protocol {
            Protocol::Grpc | Protocol::GrpcStream => Self::SkysailLoad,
            Protocol::Binary | Protocol::Json if has_wrk() => Self::Wrk,
            Protocol::Binary | Protocol::Json => Self::SkysailLoad,
        }
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Wrk => "wrk",
            Self::SkysailLoad => "skysail-load",
        }
    }
}

/// One load.
pub(crate) struct Closed<'a> {
    /// `HOST:PORT` of the protocol.
    pub(crate) address: &'a str,
    /// The model's name.
    pub(crate) model: &'a str,
    /// Floats of its input.
    pub(crate) width: usize,
    /// How requests travel.
    pub(crate) protocol: Protocol,
    /// Connections that ask again as soon as they are answered.
    pub(crate) connections: usize,
    /// How long.
    pub(crate) seconds: u64,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) answered: f64,
    pub(crate) requests_per_s: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

impl Closed<'_> {
    /// Sends the load.
    ///
    /// # Errors
    /// When any request fails.
    pub(crate) fn run(&self, generator: Generator, folder: &Path) -> Result<Seen> {
        match generator {
            Generator::Wrk => self.wrk(folder),
            Generator::SkysailLoad => self.skysail_load(),
        }
    }

    fn skysail_load(&self) -> Result<Seen> {
        let address = format!("http://{}", self.address).parse()?;
        let target = Target::new(address, self.protocol, self.model);
        let load = Load {
            arrival: Arrival::Closed,
            connections: self.connections,
            threads: 1,
            busy_poll: false,
            window: Window { warm_up: Duration::ZERO, duration: Duration::from_secs(self.seconds) },
            timeout: Duration::from_secs(10),
            objective: None,
        };
        let report = drive(target, &load)?;
        Ok(Seen {
            answered: report.answered as f64,
            requests_per_s: report.requests_per_s,
            p50_us: report.latency_us_p50.unwrap_or_default(),
            p99_us: report.latency_us_p99.unwrap_or_default(),
        })
    }

    fn wrk(&self, folder: &Path) -> Result<Seen> {
        let (body, header_length) = self.body();
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

    /// A request's body, and how much of it is JSON when raw elements follow.
    fn body(&self) -> (Vec<u8>, Option<usize>) {
        let values: Vec<f32> = (0..self.width).map(|i| (i * 37 % 1009) as f32 / 1009.0).collect();
        let width = self.width;
        let start =
            format!(r#"{{"inputs":[{{"name":"input","shape":[1,{width}],"datatype":"FP32","#);
        if matches!(self.protocol, Protocol::Json) {
            let values: Vec<String> = values.iter().map(f32::to_string).collect();
            return (format!("{start}\"data\":[{}]}}]}}", values.join(",")).into_bytes(), None);
        }
        let json = format!(
            r#"{start}"parameters":{{"binary_data_size":{}}}}}],"parameters":{{"binary_data_output":true}}}}"#,
            4 * width
        );
        let raw = values.iter().flat_map(|value| value.to_le_bytes());
        (json.bytes().chain(raw).collect(), Some(json.len()))
    }
}

/// Puts a load on a model with made-up inputs, every request of which must be answered.
pub(crate) fn drive(target: Target, load: &Load) -> Result<Report> {
    let source = Source::Random(Random { rows: 1, shapes: Vec::new(), seed: 1 });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        let prepared = prepare(target, &source, load.timeout).await?;
        run(&prepared, load, pending(), |_| {}).await
    })?;
    ensure!(report.failed == 0, "{} requests failed: {:?}", report.failed, report.failures);
    Ok(report)
}

/// Reads what `wrk --latency` prints.
fn read_wrk(text: &str) -> Option<Seen> {
    let word_after = |mark: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(mark))?;
        line.trim_start().strip_prefix(mark)?.split_whitespace().next()
    };
    let answered = text.lines().find(|line| line.contains(" requests in "))?;
    Some(Seen {
        answered: answered.split_whitespace().next()?.parse().ok()?,
        requests_per_s: word_after("Requests/sec:")?.parse().ok()?,
        p50_us: microseconds(word_after("50%")?)?,
        p99_us: microseconds(word_after("99%")?)?,
    })
}

/// `1.50ms` as 1500.
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
    fn reads_what_wrk_prints() {
        let text = "  Latency Distribution\n     50%  571.00us\n     99%    1.42ms\n  \
                    364000 requests in 4.00s, 100MB read\nRequests/sec:  90997.01\n";
        let seen = read_wrk(text).unwrap();
        assert_eq!((seen.answered, seen.p50_us, seen.p99_us), (364_000.0, 571.0, 1420.0));
        assert!(read_wrk("unable to connect").is_none());
    }
}
