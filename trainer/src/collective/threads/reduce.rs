//! The sum over threads, in blocks that stay in the cache.
//!
//! Each rank owns a part of the numbers. It receives the others' blocks of that part, adds them in
//! the order of ranks, and returns the sums in the same memory. Blocks are pipelined: while one is
//! summed, the next is in transit and the sums of the last come back. A rank sends 2(N-1)/N of the
//! numbers, as around a ring, but waits for one exchange, not N.

use super::channels::Body;
use super::connection::{Call, ThreadCollective};
use crate::collective::ring::part;
use crate::collective::{Collective, CollectiveError};
use std::ops::Range;

/// Numbers in a block; two of them fit well into the cache of a core.
const BLOCK: usize = 16 * 1024;

/// Sums `values` over the ranks of a group.
pub(super) fn all_reduce(
    connection: &mut ThreadCollective,
    call: Call,
    values: &mut [f32],
) -> Result<(), CollectiveError> {
    let blocks = Blocks { len: values.len(), world: connection.world() };
    if blocks.world == 1 {
        return Ok(());
    }
    // Each rank sends in this order, so each can receive in this order.
    for step in 0..blocks.count() + 2 {
        if step < blocks.count() {
            contribute(connection, call, &blocks, step, values)?;
        }
        if (1..=blocks.count()).contains(&step) {
            sum(connection, call, &blocks, step - 1, values)?;
        }
        if step >= 2 {
            collect(connection, call, &blocks, step - 2, values)?;
        }
    }
    Ok(())
}

/// Sends each owner this rank's numbers of its block.
fn contribute(
    connection: &mut ThreadCollective,
    call: Call,
    blocks: &Blocks,
    block: usize,
    values: &[f32],
) -> Result<(), CollectiveError> {
    for owner in connection.others() {
        let mut numbers = connection.free_blocks.pop().unwrap_or_default();
        numbers.clear();
        numbers.extend_from_slice(&values[blocks.range(owner, block)]);
        connection.send_packet(owner, call, Body::Numbers(numbers))?;
    }
    Ok(())
}

/// Sums this rank's block over the others, and returns the sums to them.
fn sum(
    connection: &mut ThreadCollective,
    call: Call,
    blocks: &Blocks,
    block: usize,
    values: &mut [f32],
) -> Result<(), CollectiveError> {
    let mine = &mut values[blocks.range(connection.rank(), block)];
    let mut theirs = Vec::with_capacity(blocks.world - 1);
    for from in connection.others() {
        let numbers = connection.receive_numbers(from, call)?;
        mine.iter_mut().zip(&numbers).for_each(|(sum, number)| *sum += number);
        theirs.push((from, numbers));
    }
    for (to, mut numbers) in theirs {
        numbers.copy_from_slice(mine);
        connection.send_packet(to, call, Body::Numbers(numbers))?;
    }
    Ok(())
}

/// Receives the sums of each owner's block.
fn collect(
    connection: &mut ThreadCollective,
    call: Call,
    blocks: &Blocks,
    block: usize,
    values: &mut [f32],
) -> Result<(), CollectiveError> {
    for owner in connection.others() {
        let sums = connection.receive_numbers(owner, call)?;
        values[blocks.range(owner, block)].copy_from_slice(&sums);
        connection.free_blocks.push(sums);
    }
    Ok(())
}

struct Blocks {
    len: usize,
    world: usize,
}

impl Blocks {
    /// Number of blocks in the largest part.
    fn count(&self) -> usize {
        self.len.div_ceil(self.world).div_ceil(BLOCK)
    }

    /// Range of a block of an owner's part; the last ones may be shorter, or empty.
    fn range(&self, owner: usize, block: usize) -> Range<usize> {
        let part = part(self.len, owner, self.world);
        let start = (part.start + block * BLOCK).min(part.end);
        start..(start + BLOCK).min(part.end)
    }
}
