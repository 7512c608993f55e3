//! Exploration of larger batches whose run times are stale.

use super::FinishedRun;
use crate::ablation::{Part, is_off};
use crate::run_time::RunTime;

/// Runs a larger batch now and then, when more waits and its run time is stale. A size that was too
/// slow once would otherwise count as slow for ever.
#[derive(Clone, Debug)]
pub(super) struct SizeExplorer {
    /// Full batches since the last exploration.
    full: u32,
    /// Full batches until the next; doubled by each exploration in vain.
    patience: u32,
}

impl Default for SizeExplorer {
    fn default() -> Self {
        Self { full: 0, patience: Self::PATIENCE.0 }
    }
}

impl SizeExplorer {
    /// Least and most patience.
    const PATIENCE: (u32, u32) = (8, 1024);

    pub(super) fn is_due(&mut self, rows: usize, run_time: &RunTime) -> bool {
        let is_due =
            !is_off(Part::Exploration) && self.full >= self.patience && run_time.is_stale(rows);
        if is_due {
            self.full = 0;
        }
        is_due
    }

    pub(super) fn finished(&mut self, run: &FinishedRun, best_before: usize, best: usize) {
        // Requests of several rows may leave a few rows of the batch free.
        let is_full =
            run.rows >= best_before || (run.rows_waiting > 0 && 2 * run.rows > best_before);
        self.full = self.full.saturating_add(u32::from(is_full));
        if best > best_before {
            self.patience = Self::PATIENCE.0;
        } else if run.rows > best_before {
            self.patience = (2 * self.patience).min(Self::PATIENCE.1);
        }
    }
}
