//! Requests that leave the queue without a run: late, cancelled, or without a place in a full queue.

use super::Scheduler;
use crate::priority::Demand;
use crate::ready_queue::QueuedRequest;
use std::hash::Hash;

impl<T, K: Clone + Eq + Hash> Scheduler<T, K> {
    /// Removes every request whose deadline or time in the queue has passed. Looks at all of them.
    pub fn expire(&mut self, now_us: u64) {
        self.removed.extend(self.waiting.remove_all(|one| one.demand.is_late(now_us)));
    }

    /// Removes every request.
    pub fn remove_all(&mut self) {
        self.removed.extend(self.waiting.remove_all(|_| true));
    }

    /// Removes the delayed requests whose deadlines have passed. Under overload none of them may
    /// ever become the most urgent.
    pub(super) fn remove_late_delayed(&mut self, now_us: u64) {
        while let Some(late) = self.waiting.pop_delayed_before(now_us) {
            self.removed.push(late);
        }
    }

    /// Takes the requests that left the queue without being in a batch.
    pub fn take_removed(&mut self) -> Vec<QueuedRequest<T>> {
        std::mem::take(&mut self.removed)
    }

    /// Makes room for one request, if need be in place of a cancelled one or one of a lower
    /// priority. Within the limit of a level, only a cancelled one of that level makes room.
    pub(super) fn has_room(&mut self, demand: &Demand, is_cancelled: impl Fn(&T) -> bool) -> bool {
        if let Some(level_max) = self.policies.requests_max(demand.priority)
            && self.waiting.len_of(demand.priority) >= level_max
        {
            self.remove_cancelled(&is_cancelled);
            if self.waiting.len_of(demand.priority) >= level_max {
                return false;
            }
        }
        if self.waiting.len() < self.requests_max || self.remove_cancelled(is_cancelled) {
            return true;
        }
        let last = self.waiting.pop_last_below(demand.priority);
        let has_room = last.is_some();
        self.removed.extend(last);
        has_room
    }

    /// Removes cancelled requests from a full queue; false when it stays full. The search is
    /// shared among many rejections, so that each costs the same however long the queue is.
    fn remove_cancelled(&mut self, is_cancelled: impl Fn(&T) -> bool) -> bool {
        if self.rejected.is_multiple_of((self.requests_max / 8).max(1)) {
            self.removed.extend(self.waiting.remove_all(|one| is_cancelled(&one.item)));
        }
        let has_room = self.waiting.len() < self.requests_max;
        self.rejected = if has_room { 0 } else { self.rejected + 1 };
        has_room
    }

    /// Learns from removed requests whose clients still wait and whose time allowed for a run.
    pub(super) fn learn_removed(&mut self, before: usize, is_cancelled: &impl Fn(&T) -> bool) {
        if self.removed.len() == before {
            return;
        }
        let run_us = self
            .classes
            .iter()
            .filter_map(|class| class.run_time.predict_us(class.policy.rows_max()));
        let run_us = run_us.min_by(f64::total_cmp).unwrap_or(0.0);
        let is_lost = |one: &&QueuedRequest<T>| {
            let Demand { deadline_us, queued_us, .. } = one.demand;
            let allowed_us = deadline_us.map(|us| us.saturating_sub(queued_us));
            allowed_us.is_some_and(|us| us as f64 > run_us) && !is_cancelled(&one.item)
        };
        self.admission_margin.on_expired(self.removed[before..].iter().filter(is_lost).count());
    }

    /// Removes the most urgent requests with deadlines before a time, except for the last of all:
    /// only a run shows how long a run takes. Returns false if there is none to remove.
    pub(super) fn expire_before(&mut self, deadlines_before_us: u64) -> bool {
        let before = self.removed.len();
        while self.waiting.len() > 1 {
            let is_hopeless = |one: &QueuedRequest<T>| {
                one.demand.deadline_us.is_some_and(|us| us < deadlines_before_us)
            };
            let Some(removed) = self.waiting.pop_head_if(is_hopeless) else { break };
            self.removed.push(removed);
        }
        self.removed.len() > before
    }
}
