//! Log lines about requests without a response, rate-limited by model and outcome.
//!
//! Each request has one line at most. Suppressed lines are counted, and the count is logged.

use crate::call::Call;
use crate::server::Server;
use crate::status::Error;
use skysail_engine::error::{Reason, ShedReason};
use skysail_engine::observe::log_limiter::{LogLimiter, RateLimit, WINDOW_S};
use skysail_engine::observe::statistics::Statistics;
use skysail_engine::request_record::{Outcome, RequestRecord};

/// True if the outcome deserves a warning.
fn is_warning(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Shed(_) | Outcome::Failed(Reason::Backend | Reason::Other) => true,
        // The caller caused it.
        _ => false,
    }
}

/// Writes a line, as a warning or as information.
macro_rules! line {
    ($is_warning:expr, $($rest:tt)+) => {
        match $is_warning {
            true => tracing::warn!($($rest)+),
            false => tracing::info!($($rest)+),
        }
    };
}

/// Logs a request without a response.
pub(crate) fn without_response(
    server: &Server,
    statistics: &Statistics,
    record: &RequestRecord,
    error: Option<&Error>,
) {
    let Some(limiter) = statistics.log_limiter(record.outcome) else { return };
    let RateLimit::Allow { suppressed } = limiter.check(server.uptime_s()) else { return };
    let RequestRecord { model, version, request_id, outcome, parameters, .. } = record;
    let reason = outcome.reason().unwrap_or_default();
    log_suppressed(model, *version, *outcome, suppressed);
    let why = error.map_or_else(|| record.explanation(), Error::to_string);
    // What a client asks for can also be wrong after the run.
    let is_clients = matches!(error, Some(Error::Malformed(_)));
    line!(
        is_warning(*outcome) && !is_clients,
        model = &**model,
        version,
        %request_id,
        reason,
        took_us = record.total_us(),
        parameters = (!parameters.is_empty()).then(|| tracing::field::display(parameters)),
        "request {}: {}",
        outcome.name(),
        one_line(&why)
    );
}

/// Logs a request for a model that does not serve.
pub(crate) fn unknown_model(server: &Server, call: &Call<'_>, error: &Error) {
    let RateLimit::Allow { suppressed } = server.unknown_model_limiter().check(server.uptime_s())
    else {
        return;
    };
    if suppressed > 0 {
        tracing::info!("{suppressed} more requests for models that do not serve");
    }
    let why = error.message();
    match call.request_id {
        Some(id) => tracing::info!(request_id = %id, "request failed: {}", one_line(&why)),
        None => tracing::info!("request failed: {}", one_line(&why)),
    }
}

/// Logs the counts of suppressed lines whose period is over. Call it about every second.
pub(crate) fn summaries(server: &Server) {
    let now_s = server.uptime_s();
    let shed = ShedReason::ALL.map(Outcome::Shed);
    let failed = Reason::ALL.map(Outcome::Failed);
    for model in server.engine().repository().serving() {
        for outcome in shed.into_iter().chain(failed) {
            let limiter = model.statistics().log_limiter(outcome);
            let suppressed = limiter.map_or(0, |limiter: &LogLimiter| limiter.suppressed(now_s));
            log_suppressed(model.name(), model.version(), outcome, suppressed);
        }
    }
    let suppressed = server.unknown_model_limiter().suppressed(now_s);
    if suppressed > 0 {
        tracing::info!("{suppressed} more requests for models that do not serve");
    }
}

fn log_suppressed(model: &str, version: u64, outcome: Outcome, suppressed: u32) {
    if suppressed == 0 {
        return;
    }
    let reason = outcome.reason().unwrap_or_default();
    line!(
        is_warning(outcome),
        model,
        version,
        reason,
        suppressed,
        "{suppressed} more requests {} in {WINDOW_S} s",
        outcome.name()
    );
}

/// Replaces control characters: text from callers must not forge a line of the log.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_line() {
        assert_eq!(
            one_line("no input 'a\n2026 WARN b\u{1b}[31m'"),
            "no input 'a 2026 WARN b [31m'"
        );
    }

    #[test]
    fn a_failure_that_the_caller_caused_is_no_warning() {
        assert!(is_warning(Outcome::Shed(ShedReason::Overloaded)));
        assert!(is_warning(Outcome::Failed(Reason::Backend)));
        assert!(!is_warning(Outcome::Failed(Reason::Rejected)));
        assert!(!is_warning(Outcome::Failed(Reason::Cancelled)));
    }
}
