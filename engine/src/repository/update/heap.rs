//! Gives memory of loaded and freed versions back to the system, when that disturbs least.

use skysail_kernels::trim_heaps;
use std::time::{Duration, Instant};

/// Time from a change to the trimming of the heap. Changes within it are trimmed together.
const PAUSE: Duration = Duration::from_secs(1);

/// Trims the heap after changes. Other threads wait for parts of it meanwhile.
#[derive(Default)]
pub(super) struct HeapTrimmer {
    /// Time of the next trimming; `None` if nothing has changed since the last.
    due: Option<Instant>,
}

impl HeapTrimmer {
    /// Notes that a load has ended, or that a version was freed.
    pub(super) fn note_change(&mut self) {
        self.due.get_or_insert_with(|| Instant::now() + PAUSE);
    }

    /// Time until the next trimming; `None` if there is none.
    pub(super) fn pause(&self) -> Option<Duration> {
        self.due.map(|due| due.saturating_duration_since(Instant::now()))
    }

    /// Trims the heap if that is due.
    pub(super) fn trim_if_due(&mut self) {
        if self.due.take_if(|due| *due <= Instant::now()).is_some() {
            trim_heaps();
        }
    }
}
