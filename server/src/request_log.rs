//! Lines of the log about requests that got no answer: one for each at most, and of many alike only
//! a few in each span of time, with a count of the others.

use crate::predict::Call;
use crate::server::Server;
use crate::status::Error;
use skysail_engine::error::{Reason, Refusal};
use skysail_engine::observe::log_limiter::{LogLimiter, RateLimit, WINDOW_S};
use skysail_engine::observe::statistics::Statistics;
use skysail_engine::request_record::{Outcome, RequestRecord};

/// How important a line is that says so.
fn is_grave(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Refused(_) | Outcome::Failed(Reason::Backend | Reason::Other) => true,
        // The caller's own doing.
        _ => false,
    }
}

/// Writes a line with these fields, as a warning if it is grave.
macro_rules! line {
    ($is_grave:expr, $($rest:tt)+) => {
        match $is_grave {
            true => tracing::warn!($($rest)+),
            false => tracing::info!($($rest)+),
        }
    };
}

/// Logs a request that got no answer.
pub(crate) fn unanswered(
    server: &Server,
    statistics: &Statistics,
    record: &RequestRecord,
    error: Option<&Error>,
) {
    let Some(limiter) = statistics.log_limiter(record.outcome) else { return };
    let RateLimit::Allow { suppressed } = limiter.check(server.uptime_s()) else { return };
    let RequestRecord { model, version, request_id, outcome, .. } = record;
    let reason = outcome.reason().unwrap_or_default();
    log_suppressed(model, *version, *outcome, suppressed);
    let why = error.map_or_else(|| record.explanation(), Error::to_string);
    line!(
        is_grave(*outcome),
        model = &**model,
        version,
        %request_id,
        reason,
        took_us = record.total_us(),
        "request {}: {}",
        outcome.name(),
        one_line(&why)
    );
}

/// Logs a request for a model that does not serve.
pub(crate) fn unknown(server: &Server, call: &Call<'_>, error: &Error) {
    let RateLimit::Allow { suppressed } = server.unknown_gate().check(server.uptime_s()) else {
        return;
    };
    if suppressed > 0 {
        tracing::info!("{suppressed} more requests for models that do not serve");
    }
    let why = error.to_string();
    match call.request_id {
        Some(id) => tracing::info!(request_id = %id, "request failed: {}", one_line(&why)),
        None => tracing::info!("request failed: {}", one_line(&why)),
    }
}

/// Says of how many nothing was said, once their span is over. To be called every second or so.
pub(crate) fn summaries(server: &Server) {
    let now_s = server.uptime_s();
    let refused = Refusal::ALL.map(Outcome::Refused);
    let failed = Reason::ALL.map(Outcome::Failed);
    for model in server.engine().repository().serving() {
        for outcome in refused.into_iter().chain(failed) {
            let limiter = model.statistics().log_limiter(outcome);
            let suppressed = limiter.map_or(0, |limiter: &LogLimiter| limiter.suppressed(now_s));
            log_suppressed(model.name(), model.version(), outcome, suppressed);
        }
    }
    let suppressed = server.unknown_gate().suppressed(now_s);
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
        is_grave(outcome),
        model,
        version,
        reason,
        suppressed,
        "{suppressed} more requests {} in {WINDOW_S} s",
        outcome.name()
    );
}

/// What callers send may be in an error's words, and must not look like a line of its own.
fn one_line(words: &str) -> String {
    words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
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
    fn what_is_the_callers_doing_is_no_warning() {
        assert!(is_grave(Outcome::Refused(Refusal::Overloaded)));
        assert!(is_grave(Outcome::Failed(Reason::Backend)));
        assert!(!is_grave(Outcome::Failed(Reason::Rejected)));
        assert!(!is_grave(Outcome::Failed(Reason::Cancelled)));
    }
}
