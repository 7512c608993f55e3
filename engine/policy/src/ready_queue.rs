//! The requests that wait, ordered by urgency, in buckets whose requests can share a run. Every
//! operation costs the logarithm of the number of requests.

use crate::priority::{Demand, Priority, QueueKey};
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use tally::Tally;

mod tally;

/// Most requests that are passed over because they do not fit into a batch.
const PASSED_OVER_MAX: usize = 16;

/// A request that waits.
#[derive(Debug)]
pub struct QueuedRequest<T> {
    /// The request itself.
    pub item: T,
    /// Rows, deadline and priority.
    pub demand: Demand,
}

#[derive(Debug)]
struct Bucket<T> {
    waiters: BTreeMap<QueueKey, QueuedRequest<T>>,
    rows: usize,
}

impl<T> Default for Bucket<T> {
    fn default() -> Self {
        Self { waiters: BTreeMap::new(), rows: 0 }
    }
}

impl<T> Bucket<T> {
    fn head(&self) -> Option<QueueKey> {
        self.waiters.first_key_value().map(|(&place, _)| place)
    }

    fn remove<L>(&mut self, place: QueueKey, tally: &mut Tally<L>) -> Option<QueuedRequest<T>> {
        let waiter = self.waiters.remove(&place)?;
        self.rows -= waiter.demand.rows;
        tally.remove(place, &waiter.demand);
        Some(waiter)
    }

    /// Puts a request behind all that are not delayed.
    fn delay<L>(&mut self, place: QueueKey, key: L, tally: &mut Tally<L>) {
        let Some(waiter) = self.waiters.remove(&place) else { return };
        let place = QueueKey { is_delayed: true, ..place };
        tally.delay(place, &waiter.demand, key);
        self.waiters.insert(place, waiter);
    }
}

/// The most urgent request, and the rows in its bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Demand of that request.
    pub demand: Demand,
    /// Rows of all requests that can share its run, with its own.
    pub rows: usize,
}

/// Requests that wait. Those with equal keys `L` can share a run.
#[derive(Debug)]
pub struct ReadyQueue<T, L> {
    buckets: HashMap<L, Bucket<T>>,
    /// The bucket of each bucket's most urgent item.
    heads: BTreeMap<QueueKey, L>,
    tally: Tally<L>,
    next_number: u64,
    /// The last key that was the last in the order of those that are not delayed.
    last: Option<QueueKey>,
}

impl<T, L: Clone + Eq + Hash> Default for ReadyQueue<T, L> {
    fn default() -> Self {
        Self {
            buckets: HashMap::new(),
            heads: BTreeMap::new(),
            tally: Tally::default(),
            next_number: 0,
            last: None,
        }
    }
}

impl<T, L: Clone + Eq + Hash> ReadyQueue<T, L> {
    /// Counts the requests of each priority level from now on; nothing waits yet.
    pub fn count_levels(&mut self) {
        self.tally.by_level = Some(HashMap::new());
    }

    /// Number of requests that wait.
    pub fn len(&self) -> usize {
        self.tally.len
    }

    /// Number of requests of a priority level that wait, where levels are counted.
    pub fn len_of(&self, priority: Priority) -> usize {
        let by_level = self.tally.by_level.as_ref();
        by_level.and_then(|by_level| by_level.get(&priority)).copied().unwrap_or(0)
    }

    /// True if no request waits.
    pub fn is_empty(&self) -> bool {
        self.tally.len == 0
    }

    /// Rows of all requests.
    pub fn rows(&self) -> usize {
        self.tally.rows
    }

    /// Estimates the rows that go before a request of this demand. It is exact for the first and
    /// the last in the order, which nearly all are. Between them it assumes an even distribution.
    pub fn rows_before(&self, demand: &Demand) -> usize {
        let due_us = demand.due_us();
        let (Some((first, _)), Some(last)) = (self.heads.first_key_value(), self.last) else {
            return 0;
        };
        let rows = self.tally.rows - self.tally.rows_delayed;
        if due_us >= last.due_us {
            return rows;
        }
        if due_us < first.due_us || first.is_delayed {
            return 0;
        }
        let part = (due_us - first.due_us) as f64 / (last.due_us - first.due_us) as f64;
        (rows as f64 * part) as usize
    }

    /// Adds a request.
    pub fn push(&mut self, item: T, demand: Demand, bucket: L) {
        let (due_us, number) = (demand.due_us(), self.next_number);
        let place = QueueKey { is_delayed: false, due_us, number };
        self.next_number += 1;
        self.tally.add(&demand);
        self.last = self.last.max(Some(place));
        if let Some(known) = self.buckets.get_mut(&bucket) {
            let before = known.head();
            known.rows += demand.rows;
            known.waiters.insert(place, QueuedRequest { item, demand });
            if before.is_some_and(|before| place < before) {
                before.map(|before| self.heads.remove(&before));
                self.heads.insert(place, bucket);
            }
            return;
        }
        let mut new = Bucket { rows: demand.rows, ..Bucket::default() };
        new.waiters.insert(place, QueuedRequest { item, demand });
        self.heads.insert(place, bucket.clone());
        self.buckets.insert(bucket, new);
    }

    /// The most urgent request.
    pub fn head(&self) -> Option<Head> {
        let bucket = self.buckets.get(self.heads.first_key_value()?.1)?;
        let (_, waiter) = bucket.waiters.first_key_value()?;
        Some(Head { demand: waiter.demand, rows: bucket.rows })
    }

    /// Removes the most urgent request if `is_out` returns true for it.
    pub fn pop_head_if(
        &mut self,
        is_out: impl FnOnce(&QueuedRequest<T>) -> bool,
    ) -> Option<QueuedRequest<T>> {
        let bucket = self.heads.first_key_value()?.1.clone();
        self.change(&bucket, |bucket, tally| {
            let (&place, waiter) = bucket.waiters.first_key_value()?;
            is_out(waiter).then(|| bucket.remove(place, tally)).flatten()
        })
    }

    /// Puts the most urgent request behind all that are not delayed, if it is to be delayed and
    /// is not yet. Returns true if it did.
    pub fn delay_head_if(&mut self, is_to_be_delayed: impl FnOnce(&Demand) -> bool) -> bool {
        let Some((&place, key)) = self.heads.first_key_value() else { return false };
        if place.is_delayed {
            return false;
        }
        let key = key.clone();
        self.change(&key, |bucket, tally| {
            let head = bucket.waiters.get(&place);
            let is_delayed = head.is_some_and(|waiter| is_to_be_delayed(&waiter.demand));
            if is_delayed {
                bucket.delay(place, key.clone(), tally);
            }
            is_delayed
        })
    }

    /// Removes the delayed request with the earliest deadline, if that is before a time.
    pub fn pop_delayed_before(&mut self, time_us: u64) -> Option<QueuedRequest<T>> {
        let (&(deadline_us, place), key) = self.tally.delayed.first_key_value()?;
        if deadline_us >= time_us {
            return None;
        }
        let key = key.clone();
        self.change(&key, |bucket, tally| bucket.remove(place, tally))
    }

    /// Removes the most urgent request and others that can share its run, up to `rows_max` rows. A
    /// first request with more rows is alone. Of the others, those for which `is_out` returns true
    /// go to `out` instead, and those that are to be delayed go behind all that are not.
    pub fn take_batch(
        &mut self,
        rows_max: usize,
        is_out: impl Fn(&QueuedRequest<T>) -> bool,
        is_to_be_delayed: impl Fn(&Demand) -> bool,
        out: &mut Vec<QueuedRequest<T>>,
    ) -> Vec<QueuedRequest<T>> {
        let Some(key) = self.heads.first_key_value().map(|(_, key)| key.clone()) else {
            return Vec::new();
        };
        self.change(&key, |bucket, tally| {
            let mut batch: Vec<QueuedRequest<T>> = Vec::new();
            let mut passed_over = Vec::new();
            let mut rows = 0;
            while (batch.is_empty() || rows < rows_max) && passed_over.len() < PASSED_OVER_MAX {
                let Some((&place, waiter)) = bucket.waiters.first_key_value() else { break };
                let is_first = batch.is_empty();
                if !is_first && is_out(waiter) {
                    out.extend(bucket.remove(place, tally));
                } else if !is_first && !place.is_delayed && is_to_be_delayed(&waiter.demand) {
                    bucket.delay(place, key.clone(), tally);
                } else if is_first || rows + waiter.demand.rows <= rows_max {
                    rows += waiter.demand.rows;
                    batch.extend(bucket.remove(place, tally));
                } else {
                    passed_over.extend(bucket.waiters.pop_first());
                }
            }
            bucket.waiters.extend(passed_over);
            batch
        })
    }

    /// Removes the least urgent request if its priority is lower than this. Looks at every bucket.
    pub fn pop_last_below(&mut self, priority: Priority) -> Option<QueuedRequest<T>> {
        let lasts = self.buckets.iter().filter_map(|(key, bucket)| {
            let (&place, waiter) = bucket.waiters.last_key_value()?;
            Some((place, waiter.demand.priority, key))
        });
        let (place, last, key) = lasts.max_by_key(|(place, ..)| *place)?;
        let key = key.clone();
        (last > priority)
            .then(|| self.change(&key, |bucket, tally| bucket.remove(place, tally)))
            .flatten()
    }

    /// Removes every request for which `is_out` returns true. Looks at all of them.
    pub fn remove_all(
        &mut self,
        is_out: impl Fn(&QueuedRequest<T>) -> bool,
    ) -> Vec<QueuedRequest<T>> {
        let buckets: Vec<L> = self.buckets.keys().cloned().collect();
        let mut removed = Vec::new();
        for bucket in buckets {
            removed.extend(self.change(&bucket, |bucket, tally| {
                let places = bucket.waiters.iter().filter(|(_, waiter)| is_out(waiter));
                let places: Vec<QueueKey> = places.map(|(&place, _)| place).collect();
                let remove = |place| bucket.remove(place, tally);
                places.into_iter().filter_map(remove).collect::<Vec<_>>()
            }));
        }
        removed
    }

    /// The earliest deadline of all requests. Looks at all of them.
    pub fn earliest_deadline_us(&self) -> Option<u64> {
        let waiters = self.buckets.values().flat_map(|bucket| bucket.waiters.values());
        waiters.filter_map(|waiter| waiter.demand.deadline_us).min()
    }

    /// Earliest time at which half of a request's time in the queue has passed. Looks at all.
    pub fn earliest_half_wait_us(&self) -> Option<u64> {
        let waiters = self.buckets.values().flat_map(|bucket| bucket.waiters.values());
        waiters.filter_map(|waiter| waiter.demand.half_wait_us()).min()
    }

    /// Changes a bucket, and keeps the heads in step with it.
    fn change<R: Default>(
        &mut self,
        key: &L,
        change: impl FnOnce(&mut Bucket<T>, &mut Tally<L>) -> R,
    ) -> R {
        let Some(bucket) = self.buckets.get_mut(key) else { return R::default() };
        let head = bucket.head();
        let result = change(bucket, &mut self.tally);
        let new_head = bucket.head();
        if head != new_head {
            head.map(|head| self.heads.remove(&head));
            match new_head {
                Some(place) => drop(self.heads.insert(place, key.clone())),
                None => drop(self.buckets.remove(key)),
            }
        }
        if self.tally.len == 0 {
            self.last = None;
        }
        result
    }
}

#[cfg(test)]
mod tests;
