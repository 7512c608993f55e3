//! Collective operations over a ring of messages, for implementations without faster ones. No other
//! messages may be in transit between the ranks meanwhile.

use crate::collective::{Collective, CollectiveError};
use std::ops::Range;

/// Range of part number `part`, when `len` numbers are split into `parts` of nearly equal length.
pub(crate) fn part(len: usize, part: usize, parts: usize) -> Range<usize> {
    let at = |part: usize| (len as u128 * part as u128 / parts as u128) as usize;
    at(part)..at(part + 1)
}

/// Sums over all ranks by messages to the next rank. Each part goes around once to be summed, and
/// once more to be distributed. A rank sends 2(N-1)/N of the numbers, whatever N is.
///
/// # Errors
/// Fails when a rank is late or gone, or has another length.
pub fn ring_all_reduce<C: Collective + ?Sized>(
    collective: &mut C,
    values: &mut [f32],
) -> Result<(), CollectiveError> {
    let ring = Ring::of(collective);
    for step in 0..ring.world - 1 {
        let (mine, theirs) = ring.parts(values.len(), step, 0);
        let bytes = ring.exchange(collective, bytemuck::cast_slice(&values[mine]))?;
        let sums = numbers(ring.rank, &bytes, theirs.len())?;
        values[theirs].iter_mut().zip(sums).for_each(|(value, sum)| *value += sum);
    }
    for step in 0..ring.world - 1 {
        let (mine, theirs) = ring.parts(values.len(), step, 1);
        let bytes = ring.exchange(collective, bytemuck::cast_slice(&values[mine]))?;
        let sums = numbers(ring.rank, &bytes, theirs.len())?;
        values[theirs].iter_mut().zip(sums).for_each(|(value, sum)| *value = sum);
    }
    Ok(())
}

/// Returns the bytes of all ranks, in the order of ranks, by messages to the next rank.
///
/// # Errors
/// Fails when a rank is late or gone.
pub fn ring_all_gather<C: Collective + ?Sized>(
    collective: &mut C,
    mine: &[u8],
) -> Result<Vec<Vec<u8>>, CollectiveError> {
    let ring = Ring::of(collective);
    let mut all = vec![Vec::new(); ring.world];
    all[ring.rank] = mine.to_vec();
    for step in 0..ring.world - 1 {
        let (mine, theirs) = (ring.behind(step), ring.behind(step + 1));
        all[theirs] = ring.exchange(collective, &all[mine])?;
    }
    Ok(all)
}

/// Position of a rank in the ring.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ring {
    pub(super) rank: usize,
    pub(super) world: usize,
}

impl Ring {
    fn of<C: Collective + ?Sized>(collective: &C) -> Self {
        Self { rank: collective.rank(), world: collective.world() }
    }

    /// The rank `steps` positions behind this one.
    pub(super) fn behind(self, steps: usize) -> usize {
        (self.rank + self.world - steps % self.world) % self.world
    }

    /// Ranges that are sent and received at a step, when rank `r` starts with part `r + ahead`.
    pub(super) fn parts(
        self,
        len: usize,
        step: usize,
        ahead: usize,
    ) -> (Range<usize>, Range<usize>) {
        let at = |steps: usize| part(len, (self.behind(steps) + ahead) % self.world, self.world);
        (at(step), at(step + 1))
    }

    fn exchange<C: Collective + ?Sized>(
        self,
        collective: &mut C,
        bytes: &[u8],
    ) -> Result<Vec<u8>, CollectiveError> {
        collective.send((self.rank + 1) % self.world, bytes)?;
        collective.receive(self.behind(1))
    }
}

fn numbers(
    rank: usize,
    bytes: &[u8],
    expected: usize,
) -> Result<impl Iterator<Item = f32> + '_, CollectiveError> {
    if bytes.len() != 4 * expected {
        let problem = format!("all-reduce: {expected} numbers here, {} there", bytes.len() / 4);
        return Err(CollectiveError::Mismatch { rank, problem });
    }
    Ok(bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_ne_bytes(*bytes)))
}
