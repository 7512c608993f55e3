//! Schedule of a band: assigns weights to steps.
//!
//! All lanes share a step and its window. A window that waits for the last lane would leave the
//! others idle; one that does not would leave that lane behind. So each step starts its window at
//! one of the first few inputs that lanes have next. It takes the one that serves most lanes, less
//! the cost of those that it passes.

use super::{BAND, WINDOW};
use crate::Level;
use crate::level::at_level;

/// Cost of a straggler, in lanes of a step. Halving or doubling it changes the total by less than a
/// hundredth.
const STRAGGLER_COST: usize = 7;

/// Most window starts that are compared.
const CANDIDATES_MAX: usize = 6;

/// Marks a lane without further inputs.
const NONE: u32 = u32::MAX;

/// Position of a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    /// In a step, at this offset of its window.
    Step { lane: usize, index: usize, offset: u32 },
    /// Outside of the steps.
    Straggler { lane: usize, index: usize },
}

/// Plans the steps of a band; returns the windows' starts.
///
/// `lanes` are the inputs of each lane's weights, ascending. `put` is called with the position of
/// each weight.
pub(super) fn plan(lanes: &[&[u32]], mut put: impl FnMut(usize, Slot)) -> Vec<u32> {
    let mut next = [NONE; BAND];
    let mut consumed = [0_usize; BAND];
    for (next, inputs) in next.iter_mut().zip(lanes) {
        *next = inputs.first().copied().unwrap_or(NONE);
    }
    let (level, mut windows, mut start) = (Level::best(), Vec::new(), None);
    loop {
        best_start(level, &next, &mut start);
        let Some(start) = start else { return windows };
        let step = windows.len();
        for (lane, inputs) in lanes.iter().enumerate() {
            let index = &mut consumed[lane];
            while next[lane] < start {
                put(step, Slot::Straggler { lane, index: *index });
                *index += 1;
                next[lane] = inputs.get(*index).copied().unwrap_or(NONE);
            }
            if next[lane] < start + WINDOW as u32 {
                put(step, Slot::Step { lane, index: *index, offset: next[lane] - start });
                *index += 1;
                next[lane] = inputs.get(*index).copied().unwrap_or(NONE);
            }
        }
        windows.push(start);
    }
}

at_level! {
    /// Finds the start of the next window, if any lane has a weight left.
    fn best_start(next: &[u32; BAND], best: &mut Option<u32>) {
        *best = next.iter().copied().min().filter(|start| *start != NONE);
        let Some(mut start) = *best else { return };
        let mut best_worth = served(next, start);
        for _ in 1..CANDIDATES_MAX {
            start = after(next, start);
            if start == NONE {
                break;
            }
            let passed = next.iter().map(|next| u32::from(*next < start)).sum::<u32>() as usize;
            let Some(worth) = served(next, start).checked_sub(passed * STRAGGLER_COST) else {
                break;
            };
            if worth > best_worth {
                (*best, best_worth) = (Some(start), worth);
            }
        }
    }
}

/// Counts the lanes that a window from `start` serves.
#[inline(always)]
fn served(next: &[u32; BAND], start: u32) -> usize {
    let inside = |next: &u32| u32::from(next.wrapping_sub(start) < WINDOW as u32);
    next.iter().map(inside).sum::<u32>() as usize
}

/// Smallest input after `start`.
#[inline(always)]
fn after(next: &[u32; BAND], start: u32) -> u32 {
    next.iter().map(|next| if *next > start { *next } else { NONE }).min().unwrap_or(NONE)
}
