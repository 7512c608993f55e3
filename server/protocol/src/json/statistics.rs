//! The answer of `GET /v2/models/NAME/stats`: sums since each model was loaded.

use serde::{Deserialize, Serialize};

/// The answer of `GET /v2/models/NAME/stats`, or of `GET /v2/models/stats` for every model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// One entry a version.
    pub model_stats: Vec<ModelStatistics>,
}

/// What one version has done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelStatistics {
    /// The model's name.
    pub name: String,
    /// The version.
    pub version: String,
    /// When its latest request came, in milliseconds since the epoch; 0 when none did.
    pub last_inference: u64,
    /// Rows that it answered: a request of four rows counts four.
    pub inference_count: u64,
    /// Batches that it executed.
    pub execution_count: u64,
    /// Where its requests' time went.
    pub inference_stats: InferStatistics,
    /// The same for each size of batch that was executed.
    pub batch_stats: Vec<InferBatchStatistics>,
    /// The memory that it holds.
    pub memory_usage: Vec<MemoryUsage>,
}

/// How often something took place, and how long it took in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StatisticDuration {
    /// How often.
    pub count: u64,
    /// Nanoseconds in all.
    pub ns: u64,
}

/// Where requests' time went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InferStatistics {
    /// Requests that were answered, from their arrival to their response.
    pub success: StatisticDuration,
    /// Requests that failed.
    pub fail: StatisticDuration,
    /// Waiting for an execution.
    pub queue: StatisticDuration,
    /// Making the inputs ready.
    pub compute_input: StatisticDuration,
    /// Executing the model.
    pub compute_infer: StatisticDuration,
    /// Taking out the outputs.
    pub compute_output: StatisticDuration,
    /// Requests that were answered from the cache.
    pub cache_hit: StatisticDuration,
    /// Requests that were looked for in the cache and not found.
    pub cache_miss: StatisticDuration,
}

/// Where the time of the batches of one size went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InferBatchStatistics {
    /// Rows in each of the batches.
    pub batch_size: u64,
    /// Making the inputs ready.
    pub compute_input: StatisticDuration,
    /// Executing the model.
    pub compute_infer: StatisticDuration,
    /// Taking out the outputs.
    pub compute_output: StatisticDuration,
}

/// Memory that a model holds in one place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryUsage {
    /// The kind of memory, for example `CPU` or `GPU`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Which of that kind.
    pub id: i64,
    /// Bytes.
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
    fn what_another_server_adds_or_leaves_out_is_no_error() {
        let body = json!({"model_stats": [{"name": "digits", "response_stats": {}}]});
        let read: Statistics = serde_json::from_value(body).unwrap();
        assert_eq!(read.model_stats[0].name, "digits");
    }
}
