//! Counts of the requests that wait.

use crate::priority::{Demand, Priority, QueueKey};
use std::collections::{BTreeMap, HashMap};

/// Requests and rows that wait.
#[derive(Debug)]
pub(super) struct Tally<L> {
    pub(super) len: usize,
    pub(super) rows: usize,
    /// Rows of the delayed requests.
    pub(super) rows_delayed: usize,
    /// The buckets of the delayed requests that have a deadline, by deadline and place.
    pub(super) delayed: BTreeMap<(u64, QueueKey), L>,
    /// Requests of each priority level, where levels are limited.
    pub(super) by_level: Option<HashMap<Priority, usize>>,
}

impl<L> Default for Tally<L> {
    fn default() -> Self {
        let delayed = BTreeMap::new();
        Self { len: 0, rows: 0, rows_delayed: 0, delayed, by_level: None }
    }
}

impl<L> Tally<L> {
    pub(super) fn add(&mut self, demand: &Demand) {
        self.len += 1;
        self.rows += demand.rows;
        if let Some(by_level) = &mut self.by_level {
            *by_level.entry(demand.priority).or_default() += 1;
        }
    }

    /// Counts a request as delayed, which has this place now.
    pub(super) fn delay(&mut self, place: QueueKey, demand: &Demand, bucket: L) {
        self.rows_delayed += demand.rows;
        if let Some(deadline_us) = demand.deadline_us {
            self.delayed.insert((deadline_us, place), bucket);
        }
    }

    pub(super) fn remove(&mut self, place: QueueKey, demand: &Demand) {
        self.len -= 1;
        self.rows -= demand.rows;
        if place.is_delayed {
            self.rows_delayed -= demand.rows;
            demand.deadline_us.map(|deadline_us| self.delayed.remove(&(deadline_us, place)));
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
