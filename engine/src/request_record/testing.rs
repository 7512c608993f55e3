//! Request records for tests.

use super::*;

/// A record with a total latency and an outcome, and nothing else.
pub(crate) fn record(total_us: u64, outcome: Outcome) -> RequestRecord {
    RequestRecord {
        model: "m".into(),
        version: 1,
        request_id: RequestId::own(),
        parameters: CustomParameters::default(),
        trace_id: None,
        accepted: Instant::now(),
        ends: Ends::NONE,
        ended_us: total_us,
        written_us: None,
        outcome,
        run: None,
        behind: None,
        ahead: 0,
        cache: None,
        objective_us: None,
        sending_us: 0,
        loading_us: 0,
        cause: Cause::Ordinary,
    }
}
