//! Which weights of a band go with which step.
//!
//! All lanes take a step together, with one window. A window that waits for the last lane would
//! leave the others idle, and one that does not would leave that lane behind: so each step
//! starts its window at the input, among the first few that lanes have next, where it serves most
//! lanes, less what it costs to serve those that it passes by alone.

use super::{BAND, WINDOW};
use crate::Level;
use crate::level::at_level;

/// What a weight left behind costs, in lanes of a step. Halving or doubling it changes the total
/// by less than a hundredth.
const STRAGGLER_COST: usize = 7;

/// The window starts that are tried.
const TRIES: usize = 6;

/// No input: the lane has none left.
const NONE: u32 = u32::MAX;

/// A weight in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In the step of this number, at this place of its window.
    Step { lane: usize, index: usize, place: u32 },
    /// Alone.
    Straggler { lane: usize, index: usize },
}

/// Plans the steps of a band: `lanes` are the inputs of each lane's weights, ascending. `place` is
/// told where each weight comes, and the windows' starts come back.
pub(super) fn plan(lanes: &[&[u32]], mut put: impl FnMut(usize, Place)) -> Vec<u32> {
    let mut next = [NONE; BAND];
    let mut taken = [0_usize; BAND];
    for (next, inputs) in next.iter_mut().zip(lanes) {
        *next = inputs.first().copied().unwrap_or(NONE);
    }
    let (level, mut windows, mut start) = (Level::best(), Vec::new(), None);
    loop {
        best_start(level, &next, &mut start);
        let Some(start) = start else { return windows };
        let step = windows.len();
        for (lane, inputs) in lanes.iter().enumerate() {
            let index = &mut taken[lane];
            while next[lane] < start {
                put(step, Place::Straggler { lane, index: *index });
                *index += 1;
                next[lane] = inputs.get(*index).copied().unwrap_or(NONE);
            }
            if next[lane] < start + WINDOW as u32 {
                put(step, Place::Step { lane, index: *index, place: next[lane] - start });
                *index += 1;
                next[lane] = inputs.get(*index).copied().unwrap_or(NONE);
            }
        }
        windows.push(start);
    }
}

at_level! {
    /// Finds where the next window starts, if any lane has a weight left.
    fn best_start(next: &[u32; BAND], best: &mut Option<u32>) {
        *best = next.iter().copied().min().filter(|start| *start != NONE);
        let Some(mut start) = *best else { return };
        let mut best_worth = served(next, start);
        for _ in 1..TRIES {
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

/// The lanes that a window from `start` on serves.
#[inline(always)]
fn served(next: &[u32; BAND], start: u32) -> usize {
    let inside = |next: &u32| u32::from(next.wrapping_sub(start) < WINDOW as u32);
    next.iter().map(inside).sum::<u32>() as usize
}

/// The least input after `start`.
#[inline(always)]
fn after(next: &[u32; BAND], start: u32) -> u32 {
    next.iter().map(|next| if *next > start { *next } else { NONE }).min().unwrap_or(NONE)
}
