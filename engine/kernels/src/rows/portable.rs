//! Products in plain Rust.

use super::{GROUP, Pass};
use crate::aligned::LINE;

/// Adds the products of a tile.
pub(super) fn add(pass: &Pass<'_>, sums: &mut [f32]) {
    let strips = pass.starts.len();
    for (strip, start) in pass.starts.iter().enumerate() {
        let panel = &pass.lines[*start..];
        match pass.positions - strip * LINE {
            1 => add_strip::<1>(pass, panel, &mut sums[strip * LINE..], strips),
            2..=4 => add_strip::<4>(pass, panel, &mut sums[strip * LINE..], strips),
            _ => add_strip::<LINE>(pass, panel, &mut sums[strip * LINE..], strips),
        }
    }
}

/// Adds the products of the first `POSITIONS` of a strip.
fn add_strip<const POSITIONS: usize>(
    pass: &Pass<'_>,
    panel: &[f32],
    sums: &mut [f32],
    strips: usize,
) {
    let mut first = 0;
    for group in pass.weights.groups {
        let slots = first..first + usize::from(group.steps) * GROUP;
        first = slots.end;
        for (lane, output) in group.outputs.into_iter().enumerate() {
            let sums = &mut sums[usize::from(output) * strips * LINE..][..POSITIONS];
            let mut acc = [0.0; POSITIONS];
            for slot in slots.clone().skip(lane).step_by(GROUP) {
                let (input, value) = pass.weights.weight(slot);
                let line = &panel[input * LINE..][..POSITIONS];
                for (acc, x) in acc.iter_mut().zip(line) {
                    *acc += value * x;
                }
            }
            sums.iter_mut().zip(acc).for_each(|(sum, acc)| *sum += acc);
        }
    }
}
