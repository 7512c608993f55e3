//! Settings of traces: which requests, and where to.

use anyhow::{Result, ensure};
use clap::Args;
use http::uri::{Scheme, Uri};
use serde::Deserialize;
use std::path::PathBuf;

/// Default share of requests that is traced.
const SAMPLE: f64 = 0.01;

/// OpenTelemetry traces, off without a collector, and Triton's trace, off without a file.
#[derive(Args, Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Tracing {
    /// OpenTelemetry collector for traces, such as http://localhost:4317 (OTLP over gRPC). It gets
    /// failed requests, missed objectives, each model's slowest 1 %, and a sample of the others.
    #[arg(long, value_name = "URL")]
    pub(crate) otlp: Option<String>,
    /// Share of requests in the sample, from 0 to 1, if the caller's traceparent does not decide
    /// [default: 0.01].
    #[arg(long = "trace-sample", value_name = "SHARE", allow_negative_numbers = true)]
    pub(crate) sample: Option<f64>,
    /// JSON file for Triton's request trace, which clients switch on and off by /v2/trace/setting.
    /// The file is replaced at the start [default: no trace].
    #[arg(long = "trace-file", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

impl Tracing {
    /// Share of requests that is sampled.
    pub(crate) fn share(&self) -> f64 {
        self.sample.unwrap_or(SAMPLE)
    }

    pub(super) fn or(self, other: &Self) -> Self {
        Self {
            otlp: self.otlp.or(other.otlp.clone()),
            sample: self.sample.or(other.sample),
            file: self.file.or(other.file.clone()),
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        if let Some(url) = &self.otlp {
            let uri = url.parse::<Uri>().ok();
            let is_http =
                |uri: Uri| uri.scheme() == Some(&Scheme::HTTP) && uri.port_u16().is_some();
            ensure!(uri.is_some_and(is_http), "otlp is {url}: it must be like http://host:4317");
        }
        if let Some(sample) = self.sample {
            ensure!((0.0..=1.0).contains(&sample), "trace-sample is {sample}: from 0 to 1");
            ensure!(self.otlp.is_some(), "trace-sample needs otlp, where the traces go");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(otlp: Option<&str>, sample: Option<f64>) -> Result<Tracing, String> {
        let tracing = Tracing { otlp: otlp.map(str::to_owned), sample, file: None };
        tracing.check().map(|()| tracing).map_err(|error| error.to_string())
    }

    #[test]
    fn a_collector_needs_a_host_and_a_port() {
        assert!(checked(None, None).is_ok());
        assert_eq!(checked(Some("http://[::1]:4317"), None).unwrap().share(), 0.01);
        for url in
            ["", "c:4317", "https://c:4317", "http://", "http://c", "ftp://c:1", "http://c:99999"]
        {
            let error = checked(Some(url), None).unwrap_err();
            assert!(error.contains("http://host:4317"), "{url}: {error}");
        }
    }

    #[test]
    fn the_sample_is_a_share_and_needs_a_collector() {
        let url = Some("http://c:1");
        assert_eq!(checked(url, Some(0.0)).unwrap().share(), 0.0);
        for share in [-0.1, 1.1, f64::NAN] {
            let error = checked(url, Some(share)).unwrap_err();
            assert!(error.contains("from 0 to 1"), "{share}: {error}");
        }
        assert!(checked(None, Some(0.5)).unwrap_err().contains("needs otlp"));
    }

    #[test]
    fn a_flag_overrides_the_file() {
        let file: Tracing =
            toml::from_str("otlp = \"http://a:1\"\nsample = 0.5\nfile = \"t\"\n").unwrap();
        let flag = Tracing { otlp: Some("http://b:1".into()), ..Tracing::default() };
        let both = flag.or(&file);
        assert_eq!((both.otlp.as_deref(), both.sample), (Some("http://b:1"), Some(0.5)));
        assert_eq!(both.file, Some("t".into()));
        assert!(toml::from_str::<Tracing>("endpoint = 1").is_err());
    }
}
