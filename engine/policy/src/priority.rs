//! Order in which requests are served: earliest deadline first inside a priority, without
//! starvation.
//!
//! The order follows a virtual deadline, set once when a request is queued. It is the request's
//! deadline, and a second later for each step of lower priority. So a request of higher priority
//! goes first, unless the other has waited a second more for each step between them. A request
//! without a deadline, or with a far one, is placed as if its deadline were a second away. A
//! request is overtaken only by those that arrive within a bounded time, so none starves.

/// Delay of the virtual deadline for each step of lower priority.
pub const PRIORITY_STEP_US: u64 = 1_000_000;

/// Latest virtual deadline of the highest priority, from the time a request is queued.
pub const VIRTUAL_DEADLINE_US_MAX: u64 = 1_000_000;

/// Priority of a request: 1 is the highest, [`Priority::LOWEST`] the lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Priority(u8);

impl Priority {
    /// Lowest priority.
    pub const LOWEST: u8 = 9;

    /// Takes the number of a request: 0 is the default in the middle, and a number beyond the
    /// lowest counts as the lowest.
    pub fn new(said: u64) -> Self {
        match u8::try_from(said) {
            Ok(0) => Self::default(),
            Ok(level) => Self(level.min(Self::LOWEST)),
            Err(_) => Self(Self::LOWEST),
        }
    }

    /// Number from 1 to [`Priority::LOWEST`].
    pub fn level(self) -> u8 {
        self.0
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self(Self::LOWEST.div_ceil(2))
    }
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
    /// Priority of the request.
    pub priority: Priority,
}

impl Demand {
    /// Virtual deadline.
    pub fn due_us(&self) -> u64 {
        let patience_us = self.queued_us.saturating_add(VIRTUAL_DEADLINE_US_MAX);
        let due_us = self.deadline_us.map_or(patience_us, |us| us.min(patience_us));
        due_us.saturating_add(u64::from(self.priority.0 - 1) * PRIORITY_STEP_US)
    }

    /// True if the deadline has passed.
    pub fn is_late(&self, now_us: u64) -> bool {
        self.deadline_us.is_some_and(|deadline_us| now_us > deadline_us)
    }
}

/// Sort key of the queue: the virtual deadline, then the order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueueKey {
    /// The virtual deadline.
    pub due_us: u64,
    /// Counts all requests of a queue.
    pub number: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(queued_us: u64, deadline_us: Option<u64>, priority: u64) -> u64 {
        Demand { rows: 1, queued_us, deadline_us, priority: Priority::new(priority) }.due_us()
    }

    #[test]
    fn any_number_is_a_priority() {
        let levels = [0, 1, 8, 9, 10, 255, 256, u64::MAX].map(|said| Priority::new(said).level());
        assert_eq!(levels, [5, 1, 8, 9, 9, 9, 9, 9]);
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
}
