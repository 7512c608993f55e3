//! Priority levels and queue policies.

use crate::config::{ModelConfig, QueueLimits};
use crate::repository::triton::node::Mistake;
use crate::repository::triton::settings::{TritonBatching, TritonQueue, TritonTimeoutAction};
use skysail_policy::queue_policy::{QueuePolicies, QueuePolicy, TimeoutAction};
use std::collections::BTreeMap;

/// Requests that may wait at all levels together. Without levels, the policy's limit is the queue's.
pub(super) fn requests_max(batching: &TritonBatching) -> usize {
    let own = batching.default_queue_policy.max_queue_size as usize;
    let has_limit = own > 0 && batching.priority_levels == 0;
    if has_limit { own } else { QueueLimits::default().requests_max }
}

/// The policies of all levels.
///
/// # Errors
/// A level is none of those from 1 to `priority_levels`.
pub(super) fn policies(batching: &TritonBatching) -> Result<QueuePolicies, Mistake> {
    let (levels, default) = (batching.priority_levels, batching.default_priority_level);
    let out_of_range = |field: &str, level: &str| {
        let problem = match levels {
            0 => "needs priority_levels".to_owned(),
            levels => format!("is level {level}: the levels are 1 to {levels}"),
        };
        Err(Mistake::in_field(format!("dynamic_batching.{field}"), problem))
    };
    let is_level = |level: u64| (1..=levels).contains(&level);
    if levels == 0 {
        if default > 0 {
            return out_of_range("default_priority_level", "");
        }
        if !batching.priority_queue_policy.is_empty() {
            return out_of_range("priority_queue_policy", "");
        }
        let all = QueuePolicy { requests_max: None, ..policy(batching.default_queue_policy) };
        return Ok(QueuePolicies::new(all));
    }
    if !is_level(default) {
        return out_of_range("default_priority_level", &default.to_string());
    }
    let mut by_level = BTreeMap::new();
    for (level, &of_level) in &batching.priority_queue_policy {
        let number = level.parse().ok().filter(|&number| is_level(number));
        let Some(number) = number else { return out_of_range("priority_queue_policy", level) };
        by_level.insert(number, policy(of_level));
    }
    let of_others = policy(batching.default_queue_policy);
    Ok(QueuePolicies::with_levels(levels, default, of_others, by_level))
}

/// Checks that no delayed request holds the responses of others.
///
/// # Errors
/// Responses keep their order, and a policy delays requests.
pub(super) fn check_order(config: &ModelConfig) -> Result<(), Mistake> {
    if config.preserve_ordering && config.queue_policies.delays() {
        let problem = "does not go with the timeout_action DELAY, as a delayed request would hold the \
                       responses of all that came after it: use REJECT, or leave the order out";
        return Err(Mistake::in_field("dynamic_batching.preserve_ordering", problem));
    }
    Ok(())
}

fn policy(queue: TritonQueue) -> QueuePolicy {
    let size = queue.max_queue_size as usize;
    QueuePolicy {
        wait_max_us: Some(queue.default_timeout_microseconds).filter(|&us| us > 0),
        timeout_action: match queue.timeout_action {
            TritonTimeoutAction::Reject => TimeoutAction::Reject,
            TritonTimeoutAction::Delay => TimeoutAction::Delay,
        },
        allows_override: queue.allow_timeout_override,
        requests_max: (size > 0).then_some(size),
    }
}
