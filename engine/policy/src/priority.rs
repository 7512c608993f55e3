//! In which order requests are served: earliest deadline first inside a priority, and nobody
//! waits for ever.
//!
//! A request's place follows from a virtual deadline, set once when it comes: its own deadline,
//! and a second later for each step of lower priority. So a request of higher priority goes first,
//! unless the other has waited a second more for each step between them; and what has no deadline,
//! or a far one, is placed as if it had one a second away. Every place is overtaken only by those
//! who come within a bounded time, so that none starves, and no place ever changes.

/// How much later a request is placed for each step of lower priority.
pub const PRIORITY_STEP_US: u64 = 1_000_000;

/// The latest virtual deadline of the highest priority, from when a request is queued.
pub const VIRTUAL_DEADLINE_US_MAX: u64 = 1_000_000;

/// 1 is the highest priority, [`Priority::LOWEST`] the lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Priority(u8);

impl Priority {
    /// The lowest.
    pub const LOWEST: u8 = 9;

    /// As a request says it: 0 is the default, in the middle, and what is beyond the lowest is
    /// the lowest.
    pub fn new(said: u64) -> Self {
        match u8::try_from(said) {
            Ok(0) => Self::default(),
            Ok(level) => Self(level.min(Self::LOWEST)),
            Err(_) => Self(Self::LOWEST),
        }
    }

    /// From 1 to [`Priority::LOWEST`].
    pub fn level(self) -> u8 {
        self.0
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self(Self::LOWEST.div_ceil(2))
    }
}

/// What the scheduler has to know of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Rows that it adds to a batch.
    pub rows: usize,
    /// When it was queued.
    pub queued_us: u64,
    /// When its answer should be there, if ever.
    pub deadline_us: Option<u64>,
    /// Its priority.
    pub priority: Priority,
}

impl Demand {
    /// Its virtual deadline.
    pub fn due_us(&self) -> u64 {
        let patience_us = self.queued_us.saturating_add(VIRTUAL_DEADLINE_US_MAX);
        let due_us = self.deadline_us.map_or(patience_us, |us| us.min(patience_us));
        due_us.saturating_add(u64::from(self.priority.0 - 1) * PRIORITY_STEP_US)
    }

    /// Whether its deadline has passed.
    pub fn is_late(&self, now_us: u64) -> bool {
        self.deadline_us.is_some_and(|deadline_us| now_us > deadline_us)
    }
}

/// A place in the order: the virtual deadline, and who came first.
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
    fn who_has_waited_long_enough_goes_before_a_higher_priority() {
        assert!(due(0, None, 2) < due(1_000_001, None, 1));
        assert!(due(0, None, 9) < due(8_000_001, None, 1));
    }

    #[test]
    fn who_allows_an_hour_waits_no_longer_than_who_allows_for_ever() {
        assert_eq!(due(7, Some(3_600_000_000), 0), due(7, None, 0));
        assert!(due(u64::MAX, None, 9) == u64::MAX);
    }
}
