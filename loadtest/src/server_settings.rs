//! Settings of the server for a model, from its configuration in Triton's form.

use crate::target::grpc::{client, status_failure};
use crate::target::http::get;
use crate::target::{Failure, PAGE_BYTES_MAX, Target};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use skysail_protocol::grpc::ModelConfigRequest;
use skysail_protocol::grpc::model_config::SchedulingChoice;
use std::collections::HashMap;
use std::time::Duration;

/// Parameter with the threads of each replica.
const THREADS: &str = "intra_op_thread_count";

/// Settings of a model; unknown ones are `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Rows of the largest batch; 0 without batching.
    pub batch_rows_max: Option<u64>,
    /// Number of replicas.
    pub replicas: Option<u64>,
    /// Threads of each replica.
    pub threads: Option<u64>,
    /// Capacity of the queue.
    pub queue_max: Option<u64>,
    /// Longest time that a request waits for others.
    pub delay_us: Option<u64>,
}

impl Settings {
    /// Queries the server, over the target's own protocol.
    ///
    /// # Errors
    /// Fails if there is no response within `limit`, or no configuration.
    pub async fn read(target: &Target, limit: Duration) -> Result<Self, Failure> {
        target.query(limit, read_http(target), read_grpc(target)).await
    }
}

/// Response as JSON.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Page {
    max_batch_size: Option<u64>,
    instance_group: Vec<Group>,
    dynamic_batching: Option<Batching>,
    parameters: HashMap<String, Parameter>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Group {
    count: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Batching {
    max_queue_delay_microseconds: Option<u64>,
    default_queue_policy: Option<QueuePolicy>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct QueuePolicy {
    max_queue_size: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Parameter {
    string_value: String,
}

impl From<Page> for Settings {
    fn from(page: Page) -> Self {
        let replicas: u64 = page.instance_group.iter().map(|group| group.count).sum();
        let batching = page.dynamic_batching.unwrap_or_default();
        let queue_max = batching.default_queue_policy.map(|policy| policy.max_queue_size);
        Self {
            batch_rows_max: page.max_batch_size,
            replicas: Some(replicas).filter(|&count| count > 0),
            threads: page.parameters.get(THREADS).and_then(|text| text.string_value.parse().ok()),
            // Triton's 0 is no limit.
            queue_max: queue_max.filter(|&max| max > 0),
            delay_us: batching.max_queue_delay_microseconds,
        }
    }
}

async fn read_http(target: &Target) -> Result<Settings, Failure> {
    let (status, body) =
        get(&target.address, &format!("{}/config", target.path()), PAGE_BYTES_MAX).await?;
    if status != StatusCode::OK {
        return Err(Failure::Status {
            status: status.as_str().to_owned(),
            message: "the server does not say how it runs the model".to_owned(),
        });
    }
    let page: Page = serde_json::from_slice(&body)
        .map_err(|error| Failure::Broken(format!("this is not a configuration: {error}")))?;
    Ok(page.into())
}

async fn read_grpc(target: &Target) -> Result<Settings, Failure> {
    let (name, version) = (target.model.clone(), target.version.clone().unwrap_or_default());
    let answer =
        client(&target.address).await?.model_config(ModelConfigRequest { name, version }).await;
    let config = answer.map_err(|status| status_failure(&status))?.into_inner().config;
    let Some(config) = config else { return Ok(Settings::default()) };
    let count = |value: i32| u64::try_from(value).unwrap_or(0);
    let batching = match config.scheduling_choice {
        Some(SchedulingChoice::DynamicBatching(batching)) => Some(Batching {
            max_queue_delay_microseconds: Some(batching.max_queue_delay_microseconds),
            default_queue_policy: batching
                .default_queue_policy
                .map(|policy| QueuePolicy { max_queue_size: u64::from(policy.max_queue_size) }),
        }),
        _ => None,
    };
    let parameter = |(name, value): (String, skysail_protocol::grpc::ModelParameter)| {
        (name, Parameter { string_value: value.string_value })
    };
    Ok(Settings::from(Page {
        max_batch_size: Some(count(config.max_batch_size)),
        instance_group: config
            .instance_group
            .iter()
            .map(|group| Group { count: count(group.count) })
            .collect(),
        dynamic_batching: batching,
        parameters: config.parameters.into_iter().map(parameter).collect(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_settings_are_read_and_the_rest_is_unknown() {
        let text = r#"{"name": "m", "max_batch_size": 64, "instance_group": [{"count": 2}],
            "dynamic_batching": {"preferred_batch_size": [], "max_queue_delay_microseconds": 0,
              "default_queue_policy": {"max_queue_size": 4096}},
            "parameters": {"intra_op_thread_count": {"string_value": "1"}}}"#;
        let page: Page = serde_json::from_str(text).unwrap();
        let found = Settings::from(page);
        let wanted = Settings {
            batch_rows_max: Some(64),
            replicas: Some(2),
            threads: Some(1),
            queue_max: Some(4096),
            delay_us: Some(0),
        };
        assert_eq!(found, wanted);
        assert_eq!(Settings::from(Page::default()), Settings::default());
    }
}
