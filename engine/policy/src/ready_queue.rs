//! The requests that wait, ordered by urgency, in buckets whose requests can share a run. Every
//! operation costs the logarithm of the number of requests.

use crate::priority::{Demand, Priority, QueueKey};
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

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

    fn remove(&mut self, place: QueueKey) -> Option<QueuedRequest<T>> {
        let waiter = self.waiters.remove(&place)?;
        self.rows -= waiter.demand.rows;
        Some(waiter)
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
    len: usize,
    rows: usize,
    next_number: u64,
    /// The last key that was the last in the order.
    last: Option<QueueKey>,
}

impl<T, L: Clone + Eq + Hash> Default for ReadyQueue<T, L> {
    fn default() -> Self {
        Self {
            buckets: HashMap::new(),
            heads: BTreeMap::new(),
            len: 0,
            rows: 0,
            next_number: 0,
            last: None,
        }
    }
}

impl<T, L: Clone + Eq + Hash> ReadyQueue<T, L> {
    /// Number of requests that wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if no request waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Rows of all requests.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Estimates the rows that go before a request of this demand. It is exact for the first and
    /// the last in the order, which nearly all are. Between them it assumes an even distribution.
    pub fn rows_before(&self, demand: &Demand) -> usize {
        let due_us = demand.due_us();
        let (Some((first, _)), Some(last)) = (self.heads.first_key_value(), self.last) else {
            return 0;
        };
        if due_us >= last.due_us {
            return self.rows;
        }
        if due_us < first.due_us {
            return 0;
        }
        let part = (due_us - first.due_us) as f64 / (last.due_us - first.due_us) as f64;
        (self.rows as f64 * part) as usize
    }

    /// Adds a request.
    pub fn push(&mut self, item: T, demand: Demand, bucket: L) {
        let place = QueueKey { due_us: demand.due_us(), number: self.next_number };
        self.next_number += 1;
        self.len += 1;
        self.rows += demand.rows;
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
        self.change(&bucket, |bucket| {
            let (&place, waiter) = bucket.waiters.first_key_value()?;
            is_out(waiter).then(|| bucket.remove(place)).flatten()
        })
    }

    /// Removes the most urgent request and others that can share its run, up to `rows_max` rows. A
    /// first request with more rows is alone. Of the others, those for which `is_out` returns true
    /// go to `out` instead.
    pub fn take_batch(
        &mut self,
        rows_max: usize,
        is_out: impl Fn(&QueuedRequest<T>) -> bool,
        out: &mut Vec<QueuedRequest<T>>,
    ) -> Vec<QueuedRequest<T>> {
        let Some(bucket) = self.heads.first_key_value().map(|(_, bucket)| bucket.clone()) else {
            return Vec::new();
        };
        self.change(&bucket, |bucket| {
            let mut batch: Vec<QueuedRequest<T>> = Vec::new();
            let mut passed_over = Vec::new();
            let mut rows = 0;
            while (batch.is_empty() || rows < rows_max) && passed_over.len() < PASSED_OVER_MAX {
                let Some((place, waiter)) = bucket.waiters.pop_first() else { break };
                if !batch.is_empty() && is_out(&waiter) {
                    bucket.rows -= waiter.demand.rows;
                    out.push(waiter);
                } else if batch.is_empty() || rows + waiter.demand.rows <= rows_max {
                    bucket.rows -= waiter.demand.rows;
                    rows += waiter.demand.rows;
                    batch.push(waiter);
                } else {
                    passed_over.push((place, waiter));
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
        (last > priority).then(|| self.change(&key, |bucket| bucket.remove(place))).flatten()
    }

    /// Removes every request for which `is_out` returns true. Looks at all of them.
    pub fn remove_all(
        &mut self,
        is_out: impl Fn(&QueuedRequest<T>) -> bool,
    ) -> Vec<QueuedRequest<T>> {
        let buckets: Vec<L> = self.buckets.keys().cloned().collect();
        let mut removed = Vec::new();
        for bucket in buckets {
            removed.extend(self.change(&bucket, |bucket| {
                let places = bucket.waiters.iter().filter(|(_, waiter)| is_out(waiter));
                let places: Vec<QueueKey> = places.map(|(&place, _)| place).collect();
                places.into_iter().filter_map(|place| bucket.remove(place)).collect::<Vec<_>>()
            }));
        }
        removed
    }

    /// The earliest deadline of all requests. Looks at all of them.
    pub fn earliest_deadline_us(&self) -> Option<u64> {
        let waiters = self.buckets.values().flat_map(|bucket| bucket.waiters.values());
        waiters.filter_map(|waiter| waiter.demand.deadline_us).min()
    }

    /// Changes a bucket, and keeps the counts and the heads in step with it.
    fn change<R: Default>(&mut self, key: &L, change: impl FnOnce(&mut Bucket<T>) -> R) -> R {
        let Some(bucket) = self.buckets.get_mut(key) else { return R::default() };
        let (head, len, rows) = (bucket.head(), bucket.waiters.len(), bucket.rows);
        let result = change(bucket);
        self.len -= len - bucket.waiters.len();
        self.rows -= rows - bucket.rows;
        let new_head = bucket.head();
        if head != new_head {
            head.map(|head| self.heads.remove(&head));
            match new_head {
                Some(place) => drop(self.heads.insert(place, key.clone())),
                None => drop(self.buckets.remove(key)),
            }
        }
        if self.len == 0 {
            self.last = None;
        }
        result
    }
}

#[cfg(test)]
mod tests;
