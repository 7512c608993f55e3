//! Duration and number of the measurements.

use skysail_loadtest::arrival::Window;
use std::time::Duration;

/// Durations and numbers of all measurements.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    pub(super) is_quick: bool,
    /// Window of a measurement that counts.
    pub(super) probe: Window,
    /// Window of a measurement that only ranks settings.
    pub(super) glance: Window,
    /// Window of requests from which policies learn first.
    pub(super) settle: Window,
    /// Window of a load relative to the capacity.
    pub(super) load: Window,
    /// Duration of bursts, and of the neighbour's rounds.
    pub(super) long: Duration,
    /// Tries to find a setting's best rate.
    pub(super) tries: usize,
    /// Tries to find the best rate of a point of the grid.
    pub(super) grid_tries: usize,
    /// Points of the grid that are measured again beside the other policies.
    pub(super) finalists: usize,
    /// Rounds of the settings.
    pub(super) rounds: u64,
    /// Rounds of the loads.
    pub(super) load_rounds: u64,
}

impl Budget {
    pub(super) fn new(is_quick: bool) -> Self {
        let window = |warm_up_ms, ms| Window {
            warm_up: Duration::from_millis(warm_up_ms),
            duration: Duration::from_millis(ms),
        };
        if is_quick {
            return Self {
                is_quick,
                probe: window(60, 200),
                glance: window(40, 120),
                settle: window(0, 200),
                load: window(150, 400),
                long: Duration::from_secs(4),
                tries: 2,
                grid_tries: 2,
                finalists: 1,
                rounds: 2,
                load_rounds: 1,
            };
        }
        Self {
            is_quick,
            probe: window(120, 680),
            glance: window(60, 240),
            settle: window(0, 600),
            load: window(300, 1_100),
            long: Duration::from_secs(10),
            tries: 4,
            grid_tries: 2,
            finalists: 2,
            rounds: 5,
            load_rounds: 3,
        }
    }
}
