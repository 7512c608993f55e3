//! Limits of a queue by priority level: of the time in the queue, and of the requests that wait.
//!
//! They are kept apart from deadlines. A deadline is the time of the response, and admission and
//! batches are made for it. The time in the queue only says when a request must have started.

use crate::priority::Priority;
use std::collections::BTreeMap;

/// Levels of a model that configures none.
const LEVELS: u64 = 9;

/// Treatment of a request whose time in the queue has passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeoutAction {
    /// It is answered with an error.
    #[default]
    Reject,
    /// It runs after all requests whose time has not passed. New requests may delay it until its
    /// deadline, or without one for ever.
    Delay,
}

/// Limits of the requests of one priority level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueuePolicy {
    /// Longest time in the queue, in microseconds.
    pub wait_max_us: Option<u64>,
    /// Treatment of a request that has waited so long.
    pub timeout_action: TimeoutAction,
    /// True if a request's own timeout replaces that time, if it is shorter.
    pub allows_override: bool,
    /// Requests of the level that may wait. Default: only the limit of the whole queue.
    pub requests_max: Option<usize>,
}

impl QueuePolicy {
    /// True if it limits the time in the queue. A request's own timeout is a part of that then,
    /// and no deadline of the response.
    pub fn limits_wait(&self) -> bool {
        self.wait_max_us.is_some() || self.allows_override
    }

    /// Longest time in the queue of a request with this timeout of its own.
    pub fn wait_max_us(&self, own_us: Option<u64>) -> Option<u64> {
        let own_us = own_us.filter(|_| self.allows_override);
        self.wait_max_us.into_iter().chain(own_us).min()
    }
}

/// Priority levels of a model, each with its policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuePolicies {
    /// Number of the lowest level, and the default one; `None` for a model that configures none.
    levels: Option<(u64, u64)>,
    default: QueuePolicy,
    by_level: BTreeMap<u64, QueuePolicy>,
}

impl Default for QueuePolicies {
    fn default() -> Self {
        Self::new(QueuePolicy::default())
    }
}

impl QueuePolicies {
    /// The same policy for all requests of a model without levels of its own.
    pub fn new(default: QueuePolicy) -> Self {
        Self { levels: None, default, by_level: BTreeMap::new() }
    }

    /// Levels from 1 to `lowest`. Levels without a policy of their own have the default one.
    pub fn with_levels(
        lowest: u64,
        default_level: u64,
        default: QueuePolicy,
        by_level: BTreeMap<u64, QueuePolicy>,
    ) -> Self {
        Self { levels: Some((lowest, default_level)), default, by_level }
    }

    /// The number of levels, and the default one, if the model configures them.
    pub fn levels(&self) -> Option<(u64, u64)> {
        self.levels
    }

    /// Priority of a request that states this number. 0 stands for the default. A number beyond
    /// the levels does too, or without configured levels for the lowest.
    pub fn priority(&self, said: u64) -> Priority {
        match self.levels {
            Some((lowest, default)) if said == 0 || said > lowest => Priority::new(default),
            Some(_) => Priority::new(said),
            None => Priority::new(said.min(LEVELS)),
        }
    }

    /// Policy of a level.
    pub fn of(&self, priority: Priority) -> &QueuePolicy {
        self.by_level.get(&priority.level()).unwrap_or(&self.default)
    }

    /// Requests that may wait at a level, if it has a limit of its own.
    pub fn requests_max(&self, priority: Priority) -> Option<usize> {
        self.of(priority).requests_max
    }

    /// True if any level delays requests that have waited for too long.
    pub fn delays(&self) -> bool {
        let delays = |policy: &QueuePolicy| {
            policy.timeout_action == TimeoutAction::Delay && policy.limits_wait()
        };
        delays(&self.default) || self.by_level.values().any(delays)
    }

    /// True if any level has a limit of its own on the number of requests.
    pub fn limits_levels(&self) -> bool {
        self.default.requests_max.is_some()
            || self.by_level.values().any(|policy| policy.requests_max.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_beyond_the_levels_are_the_default_level() {
        let levels = |lowest, default| {
            QueuePolicies::with_levels(lowest, default, QueuePolicy::default(), BTreeMap::new())
        };
        let read = |policies: &QueuePolicies| {
            [0, 1, 2, 3, 50, u64::MAX].map(|said| policies.priority(said).level())
        };
        assert_eq!(read(&levels(2, 2)), [2, 1, 2, 2, 2, 2]);
        assert_eq!(read(&levels(1_000, 7)), [7, 1, 2, 3, 50, 7]);
        assert_eq!(read(&QueuePolicies::default()), [5, 1, 2, 3, 9, 9]);
    }

    #[test]
    fn a_level_without_a_policy_has_the_default_one() {
        let (own, default) = (
            QueuePolicy { requests_max: Some(3), ..QueuePolicy::default() },
            QueuePolicy { wait_max_us: Some(9), ..QueuePolicy::default() },
        );
        let policies = QueuePolicies::with_levels(3, 2, default, [(2, own)].into());
        assert_eq!(policies.of(policies.priority(0)), &own);
        assert_eq!(policies.of(policies.priority(3)), &default);
        assert!(policies.limits_levels());
    }

    #[test]
    fn a_requests_own_timeout_shortens_the_wait_where_it_may() {
        let policy = |wait_max_us, allows_override| QueuePolicy {
            wait_max_us,
            allows_override,
            ..QueuePolicy::default()
        };
        let cases = [
            (policy(Some(50), false), Some(20), Some(50)),
            (policy(Some(50), false), Some(90), Some(50)),
            (policy(Some(50), true), Some(20), Some(20)),
            (policy(Some(50), true), Some(90), Some(50)),
            (policy(Some(50), true), None, Some(50)),
            (policy(None, true), Some(20), Some(20)),
            (policy(None, false), Some(20), None),
        ];
        for (policy, own_us, wanted) in cases {
            assert_eq!(policy.wait_max_us(own_us), wanted, "{policy:?}");
        }
        assert!(!policy(None, false).limits_wait());
    }
}
