//! Response of `GET /v2/models/NAME/stats`: sums since each model was loaded.

use serde::{Deserialize, Serialize};

/// Response of `GET /v2/models/NAME/stats`, or of `GET /v2/models/stats` for every model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// Statistics of each version.
    pub model_stats: Vec<ModelStatistics>,
}

/// Statistics of one version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelStatistics {
    /// Name of the model.
    pub name: String,
    /// Version of the model.
    pub version: String,
    /// Time of the last request, in milliseconds since 1970; 0 if there was none.
    pub last_inference: u64,
    /// Rows that were answered: a request of four rows counts four.
    pub inference_count: u64,
    /// Batches that ran.
    pub execution_count: u64,
    /// Time of requests.
    pub inference_stats: InferStatistics,
    /// Time of batches, for each batch size that ran.
    pub batch_stats: Vec<InferBatchStatistics>,
    /// Memory of the model.
    pub memory_usage: Vec<MemoryUsage>,
}

/// Count and total duration of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StatisticDuration {
    /// Number of events.
    pub count: u64,
    /// Total duration in nanoseconds.
    pub ns: u64,
}

/// Time of requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InferStatistics {
    /// Successful requests, from arrival to response.
    pub success: StatisticDuration,
    /// Requests that failed.
    pub fail: StatisticDuration,
    /// Time in the queue.
    pub queue: StatisticDuration,
    /// Time of preparing inputs.
    pub compute_input: StatisticDuration,
    /// Time of running the model.
    pub compute_infer: StatisticDuration,
    /// Time of extracting outputs.
    pub compute_output: StatisticDuration,
    /// Requests that were answered from the cache.
    pub cache_hit: StatisticDuration,
    /// Requests without a cached response.
    pub cache_miss: StatisticDuration,
}

/// Time of the batches of one size.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InferBatchStatistics {
    /// Rows in each batch.
    pub batch_size: u64,
    /// Time of preparing inputs.
    pub compute_input: StatisticDuration,
    /// Time of running the model.
    pub compute_infer: StatisticDuration,
    /// Time of extracting outputs.
    pub compute_output: StatisticDuration,
}

/// Memory of a model on one device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryUsage {
    /// Kind of memory, for example `CPU` or `GPU`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Number of the device of that kind.
    pub id: i64,
    /// Size in bytes.
    pub byte_size: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn counts_are_plain_numbers() {
        let statistics = Statistics {
            model_stats: vec![ModelStatistics {
                inference_count: 1 << 60,
                inference_stats: InferStatistics {
                    queue: StatisticDuration { count: 3, ns: 4 },
                    ..Default::default()
                },
                memory_usage: vec![MemoryUsage { kind: "CPU".into(), id: 0, byte_size: 5 }],
                ..Default::default()
            }],
        };
        let body = serde_json::to_value(&statistics).unwrap();
        let model = &body["model_stats"][0];
        assert_eq!(model["inference_count"], json!(1_u64 << 60));
        assert_eq!(model["inference_stats"]["queue"], json!({"count": 3, "ns": 4}));
        assert_eq!(model["memory_usage"][0]["type"], "CPU");
        assert_eq!(serde_json::from_value::<Statistics>(body).unwrap(), statistics);
    }

    #[test]
    fn unknown_and_missing_fields_are_no_error() {
        let body = json!({"model_stats": [{"name": "digits", "response_stats": {}}]});
        let read: Statistics = serde_json::from_value(body).unwrap();
        assert_eq!(read.model_stats[0].name, "digits");
    }
}
