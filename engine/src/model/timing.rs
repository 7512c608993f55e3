//! Time limits of a request: its own, its call's, and those of its model's settings.

use crate::config::ModelConfig;
use crate::queue::{Deadline, WaitLimit};
use crate::request::Request;
use skysail_policy::priority::Priority;
use skysail_policy::queue_policy::{QueuePolicy, TimeoutAction};
use std::time::{Duration, Instant};

/// Arrival, priority and time limits of a request.
#[derive(Clone, Copy)]
pub(crate) struct Timing {
    pub(crate) queued: Instant,
    pub(crate) priority: Priority,
    pub(crate) deadline: Option<Deadline>,
    pub(crate) wait_limit: Option<WaitLimit>,
}

/// Time limits of a request, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeLimits {
    /// Time to the response, from the arrival of the head. The request, its call or its model sets
    /// it.
    pub timeout_us: Option<u64>,
    /// Latency objective, unless a timeout takes its place.
    pub objective_us: Option<u64>,
    /// Time in the queue, after which the request is rejected.
    pub wait_us: Option<u64>,
}

/// The limits of a request for a model.
pub(super) fn limits(
    config: &ModelConfig,
    request: &Request,
    objective_us: Option<u64>,
) -> TimeLimits {
    let policy = policy(config, request);
    // Where the time in the queue is limited, a request's own timeout is a part of that.
    let own_us = request.timeout_us.filter(|_| !policy.limits_wait());
    let own_us = own_us.or(config.queue.timeout_us);
    let objective_us = objective_us.filter(|_| own_us.is_none());
    // The call's limit shortens a timeout or an objective. It never lengthens them.
    let timeout_us = match (objective_us, request.limit_us) {
        (Some(objective_us), Some(limit_us)) if objective_us <= limit_us => None,
        (_, limit_us) => own_us.into_iter().chain(limit_us).min(),
    };
    let objective_us = objective_us.filter(|_| timeout_us.is_none());
    let rejects = policy.timeout_action == TimeoutAction::Reject;
    let wait_us = policy.wait_max_us(request.timeout_us).filter(|_| rejects);
    TimeLimits { timeout_us, objective_us, wait_us }
}

/// Arrival, priority and time limits of a request that is queued now. `reserve_us` is the part of
/// the objective for writing the response.
///
/// A timeout counts from the acceptance of the request, as its client counts. The objective counts
/// from its last byte, as a slow upload is not the server's delay.
pub(super) fn timing(
    config: &ModelConfig,
    request: &Request,
    limits: TimeLimits,
    reserve_us: u64,
    queued: Instant,
) -> Timing {
    // A limit beyond the end of time is none.
    let after = |start: Instant, us| start.checked_add(Duration::from_micros(us));
    let timeout = limits.timeout_us.and_then(|allowed_us| {
        let at = after(request.accepted.unwrap_or(queued), allowed_us)?;
        Some(Deadline { at, allowed_us, is_timeout: true })
    });
    let objective = limits.objective_us.and_then(|allowed_us| {
        let inside_us = allowed_us.saturating_sub(reserve_us);
        let at = after(request.received.unwrap_or(queued), inside_us)?;
        Some(Deadline { at, allowed_us, is_timeout: false })
    });
    let policy = policy(config, request);
    let wait_limit = policy.wait_max_us(request.timeout_us).and_then(|allowed_us| {
        let at = after(queued, allowed_us)?;
        Some(WaitLimit { at, allowed_us, action: policy.timeout_action })
    });
    let priority = config.queue_policies.priority(request.priority);
    Timing { queued, priority, deadline: timeout.or(objective), wait_limit }
}

fn policy<'a>(config: &'a ModelConfig, request: &Request) -> &'a QueuePolicy {
    let policies = &config.queue_policies;
    policies.of(policies.priority(request.priority))
}

#[cfg(test)]
mod tests {
    use super::*;
    use skysail_policy::queue_policy::QueuePolicies;

    fn config(timeout_us: Option<u64>, policy: QueuePolicy) -> ModelConfig {
        let mut config =
            ModelConfig { queue_policies: QueuePolicies::new(policy), ..ModelConfig::default() };
        config.queue.timeout_us = timeout_us;
        config
    }

    /// Timeout, objective and time in the queue.
    fn limits_of(
        config: &ModelConfig,
        [own, call, objective]: [Option<u64>; 3],
    ) -> [Option<u64>; 3] {
        let request = Request { timeout_us: own, limit_us: call, ..Request::default() };
        let TimeLimits { timeout_us, objective_us, wait_us } = limits(config, &request, objective);
        [timeout_us, objective_us, wait_us]
    }

    #[test]
    fn without_a_queue_policy_timeouts_are_of_the_response() {
        let none = config(None, QueuePolicy::default());
        assert_eq!(limits_of(&none, [None, None, Some(9)]), [None, Some(9), None]);
        assert_eq!(limits_of(&none, [Some(50), None, Some(9)]), [Some(50), None, None]);
        assert_eq!(limits_of(&none, [None, Some(50), Some(9)]), [None, Some(9), None]);
        assert_eq!(limits_of(&none, [None, Some(5), Some(9)]), [Some(5), None, None]);
        assert_eq!(limits_of(&none, [Some(50), Some(5), None]), [Some(5), None, None]);
        let own = config(Some(30), QueuePolicy::default());
        assert_eq!(limits_of(&own, [None, None, Some(9)]), [Some(30), None, None]);
        assert_eq!(limits_of(&own, [Some(70), None, None]), [Some(70), None, None]);
    }

    #[test]
    fn with_a_queue_policy_a_requests_timeout_is_of_the_queue() {
        let fixed = QueuePolicy { wait_max_us: Some(50), ..QueuePolicy::default() };
        let config_of = |policy| config(None, policy);
        let told = limits_of(&config_of(fixed), [Some(20), None, Some(9)]);
        assert_eq!(told, [None, Some(9), Some(50)]);
        let open = QueuePolicy { allows_override: true, ..fixed };
        assert_eq!(
            limits_of(&config_of(open), [Some(20), Some(80), None]),
            [Some(80), None, Some(20)]
        );
        let delay = QueuePolicy { timeout_action: TimeoutAction::Delay, ..fixed };
        assert_eq!(limits_of(&config_of(delay), [None; 3]), [None; 3]);
        let timing = |policy| {
            let (config, request) = (config_of(policy), Request::default());
            let limits = limits(&config, &request, None);
            timing(&config, &request, limits, 0, Instant::now()).wait_limit.unwrap()
        };
        assert_eq!((timing(delay).allowed_us, timing(delay).action), (50, TimeoutAction::Delay));
    }
}
