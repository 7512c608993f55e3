//! Predicted waits: for admission, and for leaving a request to a replica that is busy.

use super::{Running, Scheduler};
use crate::admission::{self, Admission, Ahead, remaining_us};
use crate::priority::Demand;
use crate::replica_set::ClassId;
use std::hash::Hash;

impl<T, K: Clone + Eq + Hash> Scheduler<T, K> {
    /// Decides whether a request that arrives now is queued.
    pub(super) fn admit(&self, demand: &Demand, now_us: u64) -> Admission {
        if self.waiting.is_empty() && self.replicas.has_available() {
            return Admission::Admit;
        }
        let Some(deadline_us) = demand.deadline_us else { return Admission::Admit };
        let left_us = deadline_us.saturating_sub(now_us) as f64;
        let classes = self.classes.iter().map(|class| Ahead {
            batch_rows_max: class.policy.rows_max(),
            rows_expected: class.policy.rows_expected(),
            slots: self.replicas.slots_of(class.id),
            free_in_us: self.free_in_us(class.id, now_us),
            run_time: &class.run_time,
        });
        let rows_ahead = self.waiting.rows_before(demand);
        admission::admit(demand.rows, rows_ahead, left_us, self.admission_margin.share(), classes)
    }

    /// Time until a replica of a class can take a batch.
    fn free_in_us(&self, class: ClassId, now_us: u64) -> f64 {
        let ready_us = self.replicas.ready_in_us(class, now_us);
        if ready_us == Some(0.0) {
            return 0.0;
        }
        let remaining = |running: &Running| {
            let elapsed_us = now_us.saturating_sub(running.started_us) as f64;
            remaining_us(running.predicted_us, elapsed_us)
        };
        let runs = self.running.iter().filter(|running| running.class == class);
        runs.map(remaining).chain(ready_us).fold(f64::INFINITY, f64::min)
    }

    /// Earliest end of a run on a replica of another class that is busy or ejected now.
    pub(super) fn finish_elsewhere_us(&self, class: ClassId, rows: usize, now_us: u64) -> u64 {
        let finish_us = self.classes.iter().filter(|other| other.id != class).map(|other| {
            let rows = rows.min(other.policy.rows_max()).max(1);
            let run_us = other.run_time.predict_us(rows).unwrap_or(0.0);
            match self.free_in_us(other.id, now_us) {
                // It could have been chosen.
                0.0 => f64::INFINITY,
                free_in_us => free_in_us + run_us,
            }
        });
        now_us.saturating_add(finish_us.fold(f64::INFINITY, f64::min) as u64)
    }
}
