//! Lines of the log about requests that got no answer: one for each at most, and of many alike only
//! a few in each span of time, with a count of the others.

use crate::predict::Call;
use crate::server::Server;
use crate::status::Error;
use skysail_engine::error::{Reason, Refusal};
use skysail_engine::gate::{Gate, Pass, SPAN_S};
use skysail_engine::request_record::{Outcome, RequestRecord};
use skysail_engine::statistics::Statistics;

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
    let Some(gate) = statistics.gate(record.outcome) else { return };
    let Pass::Through { left_out } = gate.pass(server.uptime_s()) else { return };
    let RequestRecord { model, version, request_id, outcome, .. } = record;
    let reason = outcome.reason().unwrap_or_default();
    tell_left_out(model, *version, *outcome, left_out);
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
    let Pass::Through { left_out } = server.unknown_gate().pass(server.uptime_s()) else { return };
    if left_out > 0 {
        tracing::info!("{left_out} more requests for models that do not serve");
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
            let gate = model.statistics().gate(outcome);
            let left_out = gate.map_or(0, |gate: &Gate| gate.left_out(now_s));
            tell_left_out(model.name(), model.version(), outcome, left_out);
        }
    }
    let left_out = server.unknown_gate().left_out(now_s);
    if left_out > 0 {
        tracing::info!("{left_out} more requests for models that do not serve");
    }
}

fn tell_left_out(model: &str, version: u64, outcome: Outcome, left_out: u32) {
    if left_out == 0 {
        return;
    }
    let reason = outcome.reason().unwrap_or_default();
    line!(
        is_grave(outcome),
        model,
        version,
        reason,
        left_out,
        "{left_out} more requests {} in {SPAN_S} s",
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
