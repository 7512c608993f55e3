//! Counts of the requests that wait.

use crate::priority::{Demand, Priority, QueueKey};
use std::collections::HashMap;

/// Requests and rows that wait.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) len: usize,
    pub(super) rows: usize,
    /// Rows of the delayed requests.
    pub(super) rows_delayed: usize,
    /// Requests of each priority level, where levels are limited.
    pub(super) by_level: Option<HashMap<Priority, usize>>,
}

impl Tally {
    pub(super) fn add(&mut self, demand: &Demand) {
        self.len += 1;
        self.rows += demand.rows;
        if let Some(by_level) = &mut self.by_level {
            *by_level.entry(demand.priority).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, place: QueueKey, demand: &Demand) {
        self.len -= 1;
        self.rows -= demand.rows;
        if place.is_delayed {
            self.rows_delayed -= demand.rows;
        }
        if let Some(by_level) = &mut self.by_level
            && let Some(count) = by_level.get_mut(&demand.priority)
        {
            *count -= 1;
            if *count == 0 {
                by_level.remove(&demand.priority);
            }
        }
    }
}
