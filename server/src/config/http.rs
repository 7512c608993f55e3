//! Settings of the HTTP API.

use crate::http::Cors;
use anyhow::Result;
use clap::{Args, ValueEnum};
use serde::Deserialize;

/// Pages that may call the API, and the JSON of its responses.
#[derive(Args, Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Http {
    /// Origin of web pages that may call the HTTP API from a browser, such as https://example.org;
    /// may be repeated. `*` allows every page [default: none].
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) cors_origin: Vec<String>,
    /// NaN and infinities in JSON responses. Python reads `nan`; browsers and KServe's client
    /// read `null` [default: nan].
    #[arg(long, value_name = "NOTATION")]
    pub(crate) json_non_finite: Option<NonFinite>,
}

/// Notation of NaN and infinities in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum NonFinite {
    /// As NaN, Infinity and -Infinity, which Triton writes and Python reads.
    #[default]
    Nan,
    /// As null, which every JSON reader takes.
    Null,
    /// Not at all: the response is an error that names the output.
    Error,
}

impl Http {
    pub(super) fn or(self, other: &Self) -> Self {
        let mut cors_origin = self.cors_origin;
        if cors_origin.is_empty() {
            cors_origin.clone_from(&other.cors_origin);
        }
        Self { cors_origin, json_non_finite: self.json_non_finite.or(other.json_non_finite) }
    }

    pub(super) fn check(&self) -> Result<()> {
        Cors::new(&self.cors_origin).map(drop)
    }
}
