//! Order in which requests are served: earliest deadline first inside a priority, without
//! starvation.
//!
//! The order follows a virtual deadline, set once when a request is queued. It is the request's
//! deadline, and a second later for each step of lower priority. So a request of higher priority
//! goes first, unless the other has waited a second more for each step between them. A request
//! without a deadline, or with a far one, is placed as if its deadline were a second away. A
//! request is overtaken only by those that arrive within a bounded time, so none starves.
//!
//! The one exception is asked for by a model's settings: a request that is delayed, as its time in
//! the queue has passed, goes behind all that are not. It stays there until its deadline at most.

use crate::queue_policy::TimeoutAction;

/// Delay of the virtual deadline for each step of lower priority.
pub const PRIORITY_STEP_US: u64 = 1_000_000;

/// Latest virtual deadline of the highest priority, from the time a request is queued.
pub const VIRTUAL_DEADLINE_US_MAX: u64 = 1_000_000;

/// Priority level of a request: 1 is the highest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(u64);

impl Priority {
    /// Takes the number of a level; 0 is the default of a model without configured levels.
    pub fn new(level: u64) -> Self {
        if level == 0 { Self::default() } else { Self(level) }
    }

    /// Number of the level, from 1.
    pub fn level(self) -> u64 {
        self.0
    }
}

impl Default for Priority {
    /// The middle of nine levels.
    fn default() -> Self {
        Self(5)
    }
}

/// End of the time that a request may wait in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartBy {
    /// Time by which its run has to start.
    pub at_us: u64,
    /// Treatment of the request afterwards.
    pub action: TimeoutAction,
}

/// The facts that the scheduler needs of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Rows that it adds to a batch.
    pub rows: usize,
    /// Time at which it was queued.
    pub queued_us: u64,
    /// Time at which the response is due, if ever.
    pub deadline_us: Option<u64>,
    /// End of its time in the queue, if that is limited.
    pub start_by: Option<StartBy>,
    /// Priority of the request.
    pub priority: Priority,
}

impl Demand {
    /// Virtual deadline.
    pub fn due_us(&self) -> u64 {
        let patience_us = self.queued_us.saturating_add(VIRTUAL_DEADLINE_US_MAX);
        let due_us = self.deadline_us.map_or(patience_us, |us| us.min(patience_us));
        let steps = self.priority.0.saturating_sub(1);
        due_us.saturating_add(steps.saturating_mul(PRIORITY_STEP_US))
    }

    /// True if the request is to be answered without a run: its deadline has passed, or its time
    /// in the queue.
    pub fn is_late(&self, now_us: u64) -> bool {
        self.misses_deadline(now_us) || self.has_waited_too_long(now_us, TimeoutAction::Reject)
    }

    /// True if its deadline is before a time.
    pub fn misses_deadline(&self, finish_us: u64) -> bool {
        self.deadline_us.is_some_and(|deadline_us| finish_us > deadline_us)
    }

    /// True if its time in the queue has passed, so that it goes behind all others.
    pub fn is_to_be_delayed(&self, now_us: u64) -> bool {
        self.has_waited_too_long(now_us, TimeoutAction::Delay)
    }

    /// Time at which half of its time in the queue has passed.
    pub fn half_wait_us(&self) -> Option<u64> {
        self.start_by.map(|StartBy { at_us, .. }| self.queued_us.midpoint(at_us))
    }

    fn has_waited_too_long(&self, now_us: u64, wanted: TimeoutAction) -> bool {
        self.start_by.is_some_and(|StartBy { at_us, action }| action == wanted && now_us > at_us)
    }
}

/// Sort key of the queue: those that are not delayed, the virtual deadline, the order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueueKey {
    /// True if its time in the queue has passed.
    pub is_delayed: bool,
    /// The virtual deadline.
    pub due_us: u64,
    /// Counts all requests of a queue.
    pub number: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demand(queued_us: u64, deadline_us: Option<u64>, priority: u64) -> Demand {
        let priority = Priority::new(priority);
        Demand { rows: 1, queued_us, deadline_us, start_by: None, priority }
    }

    fn due(queued_us: u64, deadline_us: Option<u64>, priority: u64) -> u64 {
        demand(queued_us, deadline_us, priority).due_us()
    }

    #[test]
    fn any_number_is_a_priority() {
        let levels = [0, 1, 8, 9, 10, u64::MAX].map(|said| Priority::new(said).level());
        assert_eq!(levels, [5, 1, 8, 9, 10, u64::MAX]);
        assert!(due(0, None, u64::MAX) == u64::MAX);
    }

    #[test]
    fn the_earliest_deadline_goes_first_and_the_higher_priority_before_it() {
        assert!(due(0, Some(5_000), 0) < due(0, Some(6_000), 0));
        assert!(due(900_000, Some(990_000), 1) < due(0, Some(5_000), 2));
        assert_eq!(due(0, None, 3), due(0, Some(u64::MAX), 3));
    }

    #[test]
    fn a_long_wait_goes_before_a_higher_priority() {
        assert!(due(0, None, 2) < due(1_000_001, None, 1));
        assert!(due(0, None, 9) < due(8_000_001, None, 1));
    }

    #[test]
    fn a_deadline_in_an_hour_waits_no_longer_than_none() {
        assert_eq!(due(7, Some(3_600_000_000), 0), due(7, None, 0));
        assert!(due(u64::MAX, None, 9) == u64::MAX);
    }

    #[test]
    fn the_time_in_the_queue_is_no_deadline() {
        for (action, is_late) in [(TimeoutAction::Reject, true), (TimeoutAction::Delay, false)] {
            let start_by = Some(StartBy { at_us: 50, action });
            let demand = Demand { start_by, ..demand(0, Some(90), 0) };
            assert_eq!((demand.is_late(50), demand.is_late(51)), (false, is_late));
            assert_eq!(demand.is_to_be_delayed(51), !is_late);
            assert!(!demand.misses_deadline(90) && demand.misses_deadline(91));
            assert_eq!(demand.due_us(), due(0, Some(90), 0));
        }
    }
}
