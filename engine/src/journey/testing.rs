//! Journeys for tests.

use super::*;

/// One that took so long and of which nothing else is known.
pub(crate) fn journey(total_us: u64, outcome: Outcome) -> Journey {
    Journey {
        model: "m".into(),
        version: 1,
        request_id: RequestId::own(),
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
