//! Batching policies: the start of a batch, its size, and the requests that cannot be met.

pub mod aimd;
pub mod max_delay;
pub mod fixed;
pub mod predictive;
pub mod quantile;
mod linger;
mod size_explorer;

use crate::run_time::RunTime;
use aimd::Aimd;
use fixed::Fixed;
use max_delay::MaxDelay;
use predictive::Predictive;
use quantile::Quantile;
use serde::Deserialize;

/// Queue as a batching policy sees it. All rows counted can share a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueView {
    /// Rows that could go into the next batch, at least 1.
    pub rows_waiting: usize,
    /// Time when the most urgent request was queued, or the one that a wait began for.
    pub queued_us: u64,
    /// Deadline of the most urgent request.
    pub deadline_us: Option<u64>,
}

/// Decision about a queue with requests, while a replica is idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Start a batch.
    Run {
        /// Most rows of the batch, at least 1; a single request with more runs alone.
        rows_max: usize,
    },
    /// Ask again at this time, or earlier if something arrives.
    Wait {
        /// In the same clock as `now_us`.
        until_us: u64,
    },
    /// Remove requests with earlier deadlines, as long as others wait behind them, and ask again.
    Expire {
        /// In the same clock as `now_us`.
        deadlines_before_us: u64,
    },
}

/// Run that has ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FinishedRun {
    /// Rows of its batch.
    pub rows: usize,
    /// Run time, in microseconds.
    pub run_us: f64,
    /// Rows that wait at its end and share a batch key.
    pub rows_waiting: usize,
}

/// A batching policy.
pub trait BatchPolicy: Send {
    /// Decides about a queue in which at least one row waits, at the time `now_us`.
    fn decide(&mut self, queue: &QueueView, run_time: &RunTime, now_us: u64) -> Decision;

    /// Learns how many batches run side by side.
    fn set_replicas(&mut self, _replicas: usize) {}

    /// Learns that a run is over.
    fn finished(&mut self, _run: &FinishedRun, _run_time: &RunTime, _now_us: u64) {}

    /// Rows of the batches that a long queue is made into.
    fn rows_max(&self) -> usize;

    /// Rows that the next batch should have by the time it starts, as the last batches had.
    fn rows_expected(&self) -> usize {
        1
    }
}

/// Limits of batches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Rows of the largest batch; 0 counts as 1.
    pub rows_max: usize,
    /// Time from when a request is queued to its response, in microseconds.
    pub objective_us: Option<f64>,
    /// Replicas that take batches from the queue; 0 counts as 1.
    pub replicas: usize,
}

impl Limits {
    /// Longest run with which every request can be met, in microseconds. A request that arrives
    /// just after a run has started waits for the rest of that run, and then for its own. With
    /// several replicas one is free sooner.
    pub fn run_us_max(&self) -> Option<f64> {
        let replicas = self.replicas.max(1) as f64;
        self.objective_us.map(|objective_us| objective_us / (1.0 + 1.0 / replicas))
    }
}

/// Name of a batching policy, as settings say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PolicyName {
    /// Sizes that the deadlines allow, by learned run times: [`Predictive`].
    #[default]
    Predictive,
    /// Additive increase, multiplicative decrease: [`Aimd`].
    Aimd,
    /// Quantile regression of run times: [`Quantile`].
    Quantile,
    /// Sizes and a delay set by hand: [`Fixed`].
    Fixed,
}

impl PolicyName {
    /// All policies.
    pub const ALL: [Self; 4] = [Self::Predictive, Self::Aimd, Self::Quantile, Self::Fixed];
}

/// Settings of a batching policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Name of the policy; see [`Policy::name`] for the default.
    #[serde(rename = "policy")]
    pub name: Option<PolicyName>,
    /// Longest time that the most urgent request waits for a full batch, in microseconds.
    pub max_delay_us: u64,
    /// Batch sizes, in rows, that end the wait early; for the policy `fixed` only.
    pub preferred_sizes: Vec<usize>,
}

impl From<PolicyName> for Policy {
    fn from(name: PolicyName) -> Self {
        Self { name: Some(name), ..Self::default() }
    }
}

impl Policy {
    /// Makes the policy `fixed`, with this longest delay.
    pub fn fixed(max_delay_us: u64) -> Self {
        Self { max_delay_us, ..PolicyName::Fixed.into() }
    }

    /// Name of the policy: `fixed` where only a delay or sizes are set, `predictive` where nothing
    /// is.
    pub fn name(&self) -> PolicyName {
        let is_unset = self.max_delay_us == 0 && self.preferred_sizes.is_empty();
        let default = if is_unset { PolicyName::default() } else { PolicyName::Fixed };
        self.name.unwrap_or(default)
    }

    /// Checks that the settings fit each other.
    ///
    /// # Errors
    /// Names the first that does not.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.name() != PolicyName::Fixed && !self.preferred_sizes.is_empty() {
            return Err("preferred_sizes is for the policy `fixed` only");
        }
        Ok(())
    }

    /// Builds the policy within these limits.
    pub fn build(&self, limits: Limits) -> Box<dyn BatchPolicy> {
        let policy: Box<dyn BatchPolicy> = match self.name() {
            PolicyName::Predictive => Box::new(Predictive::new(limits)),
            PolicyName::Aimd => Box::new(Aimd::new(limits)),
            PolicyName::Quantile => Box::new(Quantile::new(limits)),
            PolicyName::Fixed => {
                let Self { max_delay_us, preferred_sizes, .. } = self;
                return Box::new(Fixed::new(limits.rows_max, *max_delay_us, preferred_sizes));
            }
        };
        match self.max_delay_us {
            0 => policy,
            max_delay_us => Box::new(MaxDelay::new(policy, max_delay_us)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_or_sizes_alone_mean_the_policy_fixed() {
        assert_eq!(Policy::default().name(), PolicyName::Predictive);
        assert_eq!(Policy { max_delay_us: 5, ..Policy::default() }.name(), PolicyName::Fixed);
        let sizes = Policy { preferred_sizes: vec![4], ..Policy::default() };
        assert_eq!((sizes.name(), sizes.check()), (PolicyName::Fixed, Ok(())));
        let wrong = Policy { name: Some(PolicyName::Aimd), ..sizes };
        assert!(wrong.check().is_err());
    }

    #[test]
    fn every_policy_is_built_with_or_without_a_delay() {
        let limits = Limits { rows_max: 8, objective_us: Some(1e4), replicas: 1 };
        for name in PolicyName::ALL {
            assert!((1..=8).contains(&Policy::from(name).build(limits).rows_max()), "{name:?}");
            let queue = QueueView { rows_waiting: 0, queued_us: 0, deadline_us: None };
            let mut delayed = Policy { max_delay_us: 500, ..name.into() }.build(limits);
            let decision = delayed.decide(&queue, &RunTime::default(), 0);
            assert_eq!(decision, Decision::Wait { until_us: 500 }, "{name:?}");
        }
    }
}
