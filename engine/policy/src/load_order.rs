//! Order of the loads of versions, and how many run at a time.
//!
//! A load has a slot for its first moments only: a long one goes on beside the others, so that
//! nobody waits for it. What is asked for goes first, then what waits too long, then the cheapest.

use std::collections::BTreeMap;

/// Limits on the loads that run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadLimits {
    /// Loads in their turn at once, at least one: the cores to load with.
    pub slots: usize,
    /// Loads that run at once, however long they have run.
    pub running_max: usize,
    /// Microseconds after which a running load gives its slot up.
    pub turn_us: u64,
    /// Microseconds of waiting after which a load goes before cheaper ones.
    pub patience_us: u64,
}

/// A load that waits.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    /// Bytes of its files, which stand for its cost.
    bytes: u64,
    since_us: u64,
    /// Place among the loads that are asked for.
    asked: Option<u64>,
}

/// The loads that wait and run, by keys.
#[derive(Debug)]
pub struct LoadOrder<K> {
    limits: LoadLimits,
    waiting: BTreeMap<K, Waiting>,
    /// Running loads, with the time of their start.
    running: BTreeMap<K, u64>,
    asked: u64,
}

impl<K: Ord + Clone> LoadOrder<K> {
    /// An order without loads.
    pub fn new(limits: LoadLimits) -> Self {
        Self { limits, waiting: BTreeMap::new(), running: BTreeMap::new(), asked: 0 }
    }

    /// Adds a load, or changes the bytes of one that waits.
    pub fn push(&mut self, key: K, bytes: u64, now_us: u64) {
        let waiting = Waiting { bytes, since_us: now_us, asked: None };
        self.waiting.entry(key).and_modify(|waiting| waiting.bytes = bytes).or_insert(waiting);
    }

    /// Lets the waiting loads that `is_asked` chooses go first, behind those asked for before.
    pub fn ask(&mut self, is_asked: impl Fn(&K) -> bool) {
        for (key, waiting) in &mut self.waiting {
            if waiting.asked.is_none() && is_asked(key) {
                waiting.asked = Some(self.asked);
                self.asked += 1;
            }
        }
    }

    /// Takes a load back. Returns false if it does not wait.
    pub fn withdraw(&mut self, key: &K) -> bool {
        self.waiting.remove(key).is_some()
    }

    /// Starts the next load, if one waits and the limits allow it.
    pub fn start(&mut self, now_us: u64) -> Option<K> {
        let is_free = |key: &K| !self.running.contains_key(key);
        if !self.has_room(now_us) {
            return None;
        }
        let candidates = self.waiting.iter().filter(|(key, _)| is_free(key));
        let rank = |waiting: &Waiting| match waiting {
            Waiting { asked: Some(place), .. } => (0, *place),
            Waiting { since_us, .. } if self.is_overdue(*since_us, now_us) => (1, *since_us),
            Waiting { bytes, .. } => (2, *bytes),
        };
        let first = candidates.min_by_key(|(_, waiting)| (rank(waiting), waiting.since_us));
        let key = first?.0.clone();
        self.waiting.remove(&key);
        self.running.insert(key.clone(), now_us);
        Some(key)
    }

    /// Ends a running load.
    pub fn finish(&mut self, key: &K) {
        self.running.remove(key);
    }

    /// True if a load waits or runs.
    pub fn is_busy(&self) -> bool {
        !self.waiting.is_empty() || !self.running.is_empty()
    }

    /// Time at which the next running load gives its slot up; `None` if nothing waits for that.
    pub fn next_turn_us(&self, now_us: u64) -> Option<u64> {
        if self.waiting.is_empty() || self.running.len() >= self.limits.running_max {
            return None;
        }
        let ends = self.running.values().map(|start| start.saturating_add(self.limits.turn_us));
        ends.filter(|end| *end > now_us).min()
    }

    fn has_room(&self, now_us: u64) -> bool {
        let LoadLimits { slots, running_max, turn_us, .. } = self.limits;
        let is_in_turn = |start: &&u64| start.saturating_add(turn_us) > now_us;
        let in_turn = self.running.values().filter(is_in_turn).count();
        self.running.len() < running_max.max(1) && in_turn < slots.max(1)
    }

    fn is_overdue(&self, since_us: u64, now_us: u64) -> bool {
        now_us.saturating_sub(since_us) > self.limits.patience_us
    }
}

#[cfg(test)]
mod tests;
