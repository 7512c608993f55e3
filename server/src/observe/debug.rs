//! `GET /v2/debug/tail`: the slowest requests of the last minutes, and some without a response.
//!
//! Each has its stages and the cause of its latency.

use crate::server::Server;
use crate::status::Error;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};
use skysail_engine::endpoint::Endpoint;
use skysail_engine::observe::slowest::WINDOW_MAX;
use skysail_engine::parameters::{CustomParameters, ParameterValue};
use skysail_engine::request_record::RequestRecord;
use skysail_engine::stage::Stage;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Path of the page.
pub(crate) const SLOWEST: &str = "/v2/debug/tail";

/// Window of a query without one.
const WINDOW: Duration = Duration::from_secs(60);

/// Parameters of a query.
#[derive(Debug, PartialEq, Eq)]
struct Query {
    model: Option<String>,
    window: Duration,
}

/// The slowest requests as JSON. Query: `model=NAME` (default: all models), `window=60s`.
///
/// # Errors
/// When the query is invalid, or there is no such model.
pub(crate) fn slowest(server: &Server, query: Option<&str>) -> Result<Value, Error> {
    let Query { model, window } = Query::parse(query.unwrap_or_default())?;
    let mut serving = server.engine().repository().serving();
    if let Some(name) = &model {
        server.engine().lookup(name, None)?;
        serving.retain(|model| **model.name() == **name);
    }
    let now = Instant::now();
    let models: Vec<Value> = serving.iter().map(|model| of_model(model, window, now)).collect();
    Ok(json!({"window_s": seconds(window), "models": models}))
}

impl Query {
    fn parse(query: &str) -> Result<Self, Error> {
        let mut parsed = Self { model: None, window: WINDOW };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(value).decode_utf8();
            let value = value.map_err(|_| Error::malformed("the query is not UTF-8"))?;
            match name {
                "model" if !value.is_empty() => parsed.model = Some(value.into_owned()),
                "model" => return Err(Error::malformed("'model' must be a model's name")),
                "window" => parsed.window = window(&value)?,
                _ => {
                    let name = name.escape_debug();
                    return Err(Error::malformed(format!(
                        "the query's '{name}' is not known here; 'model' and 'window' are"
                    )));
                }
            }
        }
        Ok(parsed)
    }
}

/// Parses a time such as `60s`, `500ms` or `5m`. A number without a unit is in seconds.
fn window(text: &str) -> Result<Duration, Error> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit_s = match unit {
        "ms" => Some(1e-3),
        "" | "s" => Some(1.0),
        "m" | "min" => Some(60.0),
        _ => None,
    };
    let wanted = number.parse::<f64>().ok().zip(unit_s);
    let wanted = wanted.and_then(|(number, s)| Duration::try_from_secs_f64(number * s).ok());
    wanted.filter(|window| !window.is_zero() && *window <= WINDOW_MAX).ok_or_else(|| {
        let (text, max) = (text.escape_debug(), WINDOW_MAX.as_secs());
        Error::malformed(format!(
            "'window' is '{text}': it must be a time such as 60s, 500ms or 5m, and at most {max}s, \
             which is how far the server remembers"
        ))
    })
}

fn of_model(model: &Arc<Endpoint>, window: Duration, now: Instant) -> Value {
    let requests = model.slowest().read(window, now);
    let requests: Vec<Value> = requests.iter().map(|record| of_request(record, now)).collect();
    json!({
        "name": **model.name(),
        "version": model.version().to_string(),
        "objective_ms": model.objective_us().map(|us| us as f64 / 1e3),
        "requests": requests,
    })
}

/// The custom parameters of a request, by their place in it; null if it has none.
fn parameters(parameters: &CustomParameters) -> Value {
    if parameters.is_empty() {
        return Value::Null;
    }
    let json = |value: ParameterValue<'_>| match value {
        ParameterValue::Null => Value::Null,
        ParameterValue::Bool(value) => value.into(),
        ParameterValue::Integer(value) => {
            i64::try_from(value).map_or_else(|_| value.to_string().into(), Value::from)
        }
        ParameterValue::Float(value) => value.into(),
        ParameterValue::Text(text) | ParameterValue::Json(text) => text.into(),
    };
    let kept =
        parameters.iter().map(|(owner, name, value)| (format!("{owner}{name}"), json(value)));
    Value::Object(kept.collect())
}

fn of_request(record: &RequestRecord, now: Instant) -> Value {
    let ago = now.saturating_duration_since(record.ended());
    let stage = |stage: Stage| Some((stage.name().to_owned(), record.stage_us(stage)?.into()));
    let stages: Map<String, Value> = Stage::ALL.into_iter().filter_map(stage).collect();
    json!({
        "request_id": record.request_id.to_string(),
        "parameters": parameters(&record.parameters),
        "trace_id": record.trace_id.map(|id| format!("{id:032x}")),
        "ended_ms_ago": u64::try_from(ago.as_millis()).unwrap_or(u64::MAX),
        "total_us": record.total_us(),
        "written_us": record.written_us,
        "outcome": record.outcome.name(),
        "reason": record.outcome.reason(),
        "cause": record.cause.name(),
        "explanation": record.explanation(),
        "stages_us": stages,
        "cache": record.cache.map(|lookup| lookup.name()),
        "batch": record.run.map(|run| json!({
            "number": run.number,
            "rows": run.rows,
            "members": run.members,
            "predicted_us": run.predicted_us,
            "ran_us": run.ran_us,
            "cold": run.cold,
        })),
        "behind": record.behind.map(|behind| json!({
            "number": behind.number,
            "rows": behind.rows,
            "waited_us": behind.waited_us,
        })),
    })
}

/// Seconds, as an integer if whole.
fn seconds(time: Duration) -> Value {
    match time.subsec_nanos() {
        0 => time.as_secs().into(),
        _ => time.as_secs_f64().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_a_model_and_a_window() {
        let parsed = |query: &str| Query::parse(query).unwrap();
        assert_eq!(parsed(""), Query { model: None, window: WINDOW });
        let of_ab = parsed("window=90s&model=a%26b%20c");
        assert_eq!(of_ab.model.as_deref(), Some("a&b c"));
        for (text, ms) in
            [("90s", 90_000), ("1.5s", 1_500), ("500ms", 500), ("5m", 300_000), ("7", 7_000)]
        {
            let window = Query::parse(&format!("window={text}")).unwrap().window;
            assert_eq!(window, Duration::from_millis(ms), "{text}");
        }
    }

    #[test]
    fn an_invalid_query_is_an_error_with_the_reason() {
        for window in ["", "s", "0s", "-5s", "5h", "1e9s", "10m", "301s", "abc", "1.2.3s", "9e99"] {
            let error = Query::parse(&format!("window={window}")).unwrap_err().to_string();
            assert!(error.contains("'window' is") && error.contains("300s"), "{window}: {error}");
        }
        for query in ["model=", "modle=a", "model=%ff", "x", "window=5s&y=1"] {
            assert!(matches!(Query::parse(query), Err(Error::Malformed(_))), "{query}");
        }
    }
}
