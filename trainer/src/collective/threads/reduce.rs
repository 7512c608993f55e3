//! The sum over threads, in blocks that stay in the cache.
//!
//! Each rank owns a part of the numbers. It gets the others' blocks of that part, adds them up in
//! the order of ranks, and gives the sums back in the same memory. Blocks follow each other
//! closely: while one is summed, the next is on its way and the sums of the last come back. A rank
//! sends 2(N-1)/N of the numbers, as round a ring, but waits for one exchange, not N.

use super::end::{Call, End};
use super::wires::Body;
use crate::collective::ring::part;
use crate::collective::{Collective, CollectiveError};
use std::ops::Range;

/// Numbers of a block: two of them fit well into the cache of a core.
const BLOCK: usize = 16 * 1024;

/// Sums `values` over the ranks of a group.
pub(super) fn all_reduce(
    end: &mut End,
    call: Call,
    values: &mut [f32],
) -> Result<(), CollectiveError> {
    let blocks = Blocks { len: values.len(), world: end.world() };
    if blocks.world == 1 {
        return Ok(());
    }
    // Each rank sends in this order, so each may take in this order.
    for step in 0..blocks.count() + 2 {
        if step < blocks.count() {
            contribute(end, call, &blocks, step, values)?;
        }
        if (1..=blocks.count()).contains(&step) {
            sum(end, call, &blocks, step - 1, values)?;
        }
        if step >= 2 {
            collect(end, call, &blocks, step - 2, values)?;
        }
    }
    Ok(())
}

/// Gives each owner this rank's numbers of its block.
fn contribute(
    end: &mut End,
    call: Call,
    blocks: &Blocks,
    block: usize,
    values: &[f32],
) -> Result<(), CollectiveError> {
    for owner in end.others() {
        let mut numbers = end.spare.pop().unwrap_or_default();
        numbers.clear();
        numbers.extend_from_slice(&values[blocks.range(owner, block)]);
        end.give(owner, call, Body::Numbers(numbers))?;
    }
    Ok(())
}

/// Adds up what the others have for this rank's block, and tells them.
fn sum(
    end: &mut End,
    call: Call,
    blocks: &Blocks,
    block: usize,
    values: &mut [f32],
) -> Result<(), CollectiveError> {
    let mine = &mut values[blocks.range(end.rank(), block)];
    let mut theirs = Vec::with_capacity(blocks.world - 1);
    for from in end.others() {
        let numbers = end.take_numbers(from, call)?;
        mine.iter_mut().zip(&numbers).for_each(|(sum, number)| *sum += number);
        theirs.push((from, numbers));
    }
    for (to, mut numbers) in theirs {
        numbers.copy_from_slice(mine);
        end.give(to, call, Body::Numbers(numbers))?;
    }
    Ok(())
}

/// Takes the sums of each owner's block.
fn collect(
    end: &mut End,
    call: Call,
    blocks: &Blocks,
    block: usize,
    values: &mut [f32],
) -> Result<(), CollectiveError> {
    for owner in end.others() {
        let sums = end.take_numbers(owner, call)?;
        values[blocks.range(owner, block)].copy_from_slice(&sums);
        end.spare.push(sums);
    }
    Ok(())
}

struct Blocks {
    len: usize,
    world: usize,
}

impl Blocks {
    /// Blocks of the largest part.
    fn count(&self) -> usize {
        self.len.div_ceil(self.world).div_ceil(BLOCK)
    }

    /// A block of an owner's part; the last ones may be shorter, or empty.
    fn range(&self, owner: usize, block: usize) -> Range<usize> {
        let part = part(self.len, owner, self.world);
        let start = (part.start + block * BLOCK).min(part.end);
        start..(start + BLOCK).min(part.end)
    }
}
