//! The requests that wait, in the order of their urgency, apart by lane: those of one lane can
//! share a run. Every operation costs the logarithm of what waits.

use crate::urgency::{Place, Priority, Terms};
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// How many entries that do not fit into a batch are passed over to fill it.
const PASSED_OVER_MAX: usize = 16;

/// An item that waits.
#[derive(Debug)]
pub struct Waiter<T> {
    /// What it is.
    pub item: T,
    /// What it asks for.
    pub terms: Terms,
}

#[derive(Debug)]
struct Lane<T> {
    waiters: BTreeMap<Place, Waiter<T>>,
    rows: usize,
}

impl<T> Default for Lane<T> {
    fn default() -> Self {
        Self { waiters: BTreeMap::new(), rows: 0 }
    }
}

impl<T> Lane<T> {
    fn head(&self) -> Option<Place> {
        self.waiters.first_key_value().map(|(&place, _)| place)
    }

    fn remove(&mut self, place: Place) -> Option<Waiter<T>> {
        let waiter = self.waiters.remove(&place)?;
        self.rows -= waiter.terms.rows;
        Some(waiter)
    }
}

/// The most urgent request, and the lane it stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its terms.
    pub terms: Terms,
    /// Rows of all that could share its run, its own among them.
    pub rows: usize,
}

/// Items that wait, `L` telling apart those that can not share a run.
#[derive(Debug)]
pub struct Waiting<T, L> {
    lanes: HashMap<L, Lane<T>>,
    /// The lane of each lane's most urgent item.
    heads: BTreeMap<Place, L>,
    len: usize,
    rows: usize,
    next_number: u64,
    /// The last place given out that was the last in the order.
    last: Option<Place>,
}

impl<T, L: Clone + Eq + Hash> Default for Waiting<T, L> {
    fn default() -> Self {
        Self {
            lanes: HashMap::new(),
            heads: BTreeMap::new(),
            len: 0,
            rows: 0,
            next_number: 0,
            last: None,
        }
    }
}

impl<T, L: Clone + Eq + Hash> Waiting<T, L> {
    /// How many items wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Rows of all items.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Rows of the items that will go before one of these terms. Exact for one that is the last
    /// in the order or the first, as nearly all are; else as if the others lay evenly between.
    pub fn rows_before(&self, terms: &Terms) -> usize {
        let due_us = terms.due_us();
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

    /// Takes an item in.
    pub fn push(&mut self, item: T, terms: Terms, lane: L) {
        let place = Place { due_us: terms.due_us(), number: self.next_number };
        self.next_number += 1;
        self.len += 1;
        self.rows += terms.rows;
        self.last = self.last.max(Some(place));
        if let Some(known) = self.lanes.get_mut(&lane) {
            let before = known.head();
            known.rows += terms.rows;
            known.waiters.insert(place, Waiter { item, terms });
            if before.is_some_and(|before| place < before) {
                before.map(|before| self.heads.remove(&before));
                self.heads.insert(place, lane);
            }
            return;
        }
        let mut new = Lane { rows: terms.rows, ..Lane::default() };
        new.waiters.insert(place, Waiter { item, terms });
        self.heads.insert(place, lane.clone());
        self.lanes.insert(lane, new);
    }

    /// The most urgent item.
    pub fn head(&self) -> Option<Head> {
        let lane = self.lanes.get(self.heads.first_key_value()?.1)?;
        let (_, waiter) = lane.waiters.first_key_value()?;
        Some(Head { terms: waiter.terms, rows: lane.rows })
    }

    /// Takes the most urgent item out if `is_out` says so.
    pub fn pop_head_if(&mut self, is_out: impl FnOnce(&Waiter<T>) -> bool) -> Option<Waiter<T>> {
        let lane = self.heads.first_key_value()?.1.clone();
        self.change(&lane, |lane| {
            let (&place, waiter) = lane.waiters.first_key_value()?;
            is_out(waiter).then(|| lane.remove(place)).flatten()
        })
    }

    /// Takes the most urgent item and those that share its run, up to `rows_max` rows. The first
    /// may have more by itself: then it is alone. Of the others, those that `is_out` says go to
    /// `out` instead.
    pub fn take_batch(
        &mut self,
        rows_max: usize,
        is_out: impl Fn(&Waiter<T>) -> bool,
        out: &mut Vec<Waiter<T>>,
    ) -> Vec<Waiter<T>> {
        let Some(lane) = self.heads.first_key_value().map(|(_, lane)| lane.clone()) else {
            return Vec::new();
        };
        self.change(&lane, |lane| {
            let mut batch: Vec<Waiter<T>> = Vec::new();
            let mut passed_over = Vec::new();
            let mut rows = 0;
            while (batch.is_empty() || rows < rows_max) && passed_over.len() < PASSED_OVER_MAX {
                let Some((place, waiter)) = lane.waiters.pop_first() else { break };
                if !batch.is_empty() && is_out(&waiter) {
                    lane.rows -= waiter.terms.rows;
                    out.push(waiter);
                } else if batch.is_empty() || rows + waiter.terms.rows <= rows_max {
                    lane.rows -= waiter.terms.rows;
                    rows += waiter.terms.rows;
                    batch.push(waiter);
                } else {
                    passed_over.push((place, waiter));
                }
            }
            lane.waiters.extend(passed_over);
            batch
        })
    }

    /// Takes the least urgent item out if its priority is lower than this. Looks at every lane.
    pub fn pop_last_below(&mut self, priority: Priority) -> Option<Waiter<T>> {
        let lasts = self.lanes.iter().filter_map(|(key, lane)| {
            let (&place, waiter) = lane.waiters.last_key_value()?;
            Some((place, waiter.terms.priority, key))
        });
        let (place, last, key) = lasts.max_by_key(|(place, ..)| *place)?;
        let key = key.clone();
        (last > priority).then(|| self.change(&key, |lane| lane.remove(place))).flatten()
    }

    /// Takes out every item that `is_out` says, wherever it stands. Looks at all of them.
    pub fn remove_all(&mut self, is_out: impl Fn(&Waiter<T>) -> bool) -> Vec<Waiter<T>> {
        let lanes: Vec<L> = self.lanes.keys().cloned().collect();
        let mut removed = Vec::new();
        for lane in lanes {
            removed.extend(self.change(&lane, |lane| {
                let places = lane.waiters.iter().filter(|(_, waiter)| is_out(waiter));
                let places: Vec<Place> = places.map(|(&place, _)| place).collect();
                places.into_iter().filter_map(|place| lane.remove(place)).collect::<Vec<_>>()
            }));
        }
        removed
    }

    /// The earliest deadline of all items. Looks at all of them.
    pub fn earliest_deadline_us(&self) -> Option<u64> {
        let waiters = self.lanes.values().flat_map(|lane| lane.waiters.values());
        waiters.filter_map(|waiter| waiter.terms.deadline_us).min()
    }

    /// Changes a lane, and keeps the counts and the heads in step with it.
    fn change<R: Default>(&mut self, key: &L, change: impl FnOnce(&mut Lane<T>) -> R) -> R {
        let Some(lane) = self.lanes.get_mut(key) else { return R::default() };
        let (head, len, rows) = (lane.head(), lane.waiters.len(), lane.rows);
        let result = change(lane);
        self.len -= len - lane.waiters.len();
        self.rows -= rows - lane.rows;
        let new_head = lane.head();
        if head != new_head {
            head.map(|head| self.heads.remove(&head));
            match new_head {
                Some(place) => drop(self.heads.insert(place, key.clone())),
                None => drop(self.lanes.remove(key)),
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
