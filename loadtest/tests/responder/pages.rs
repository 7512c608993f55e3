//! Further pages of the responder: statistics, settings, and slow requests.

use serde_json::{Value, json};
use std::time::Duration;

/// Run time of the model `serial`, which runs one request after another.
pub(crate) const SERIAL_RUN: Duration = Duration::from_millis(3);

/// Statistics of a server that has answered this many requests one by one.
pub(super) fn statistics(model: &str, count: u64) -> Value {
    let timed = |us: u64| json!({"count": count, "ns": count * us * 1_000});
    // The responder's timer has a resolution of a millisecond.
    let run_us = SERIAL_RUN.as_micros() as u64 + 1_000;
    json!({"model_stats": [{
        "name": model,
        "version": "1",
        "inference_count": count,
        "execution_count": count,
        "inference_stats": {"success": timed(run_us), "fail": timed(0), "queue": timed(0)},
        "batch_stats": [{
            "batch_size": 1,
            "compute_input": timed(0),
            "compute_infer": timed(run_us),
            "compute_output": timed(0),
        }],
    }]})
}

/// Settings of a model.
pub(super) fn config() -> Value {
    json!({
        "max_batch_size": 1,
        "instance_group": [{"count": 1}],
        "parameters": {"intra_op_thread_count": {"string_value": "1"}},
    })
}

/// Two slow requests, one with control characters in its identifier.
pub(super) fn tail() -> Value {
    json!({"window_s": 60, "models": [{
        "name": "digits",
        "version": "1",
        "objective_ms": null,
        "requests": [
            {
                "request_id": "evil\u{1b}[31m\nid",
                "ended_ms_ago": 1_200,
                "total_us": 41_000.0,
                "outcome": "missed",
                "reason": null,
                "cause": "waited_behind_batch",
                "explanation": "waited 38 ms behind batch 7 of 64 rows",
                "stages_us": {"accept": 10.0, "decode": 20.0, "admit": 1.0, "queue": 38_000.0,
                              "batch": 9.0, "execute": 2_900.0, "respond": 60.0},
                "batch": {"number": 8, "rows": 4, "members": 4, "predicted_us": 2_800.0,
                          "ran_us": 2_900.0, "cold": false},
                "behind": {"number": 7, "rows": 64},
            },
            {
                "request_id": "b",
                "ended_ms_ago": 10,
                "total_us": 90.0,
                "outcome": "refused",
                "reason": "overloaded",
                "cause": "shed",
                "explanation": "",
                "stages_us": {"accept": 10.0, "decode": 20.0},
                "batch": null,
                "behind": null,
            },
        ],
    }]})
}
