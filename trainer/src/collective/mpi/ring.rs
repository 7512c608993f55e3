//! In-place sums around a ring: MPI receives directly into the destination. MPI's own sum needs a
//! second buffer and a copy, and moves more memory.

use crate::collective::ring::Ring;
use mpi::Tag;
use mpi::point_to_point::send_receive_into_with_tags;
use mpi::topology::SimpleCommunicator;
use mpi::traits::Communicator;

/// Tag of the parts in transit.
pub(super) const TAG: Tag = 2;
/// Upper limit of numbers in a message, which MPI counts in 31 bits.
const NUMBERS_MAX: usize = 1 << 30;

/// Sums `values` over all ranks, which have all arrived; `buffer` is scratch space.
pub(super) fn sum(ring: Ring, values: &mut [f32], buffer: &mut Vec<f32>) {
    for values in values.chunks_mut(NUMBERS_MAX) {
        sum_parts(ring, values, buffer);
        share_parts(ring, values);
    }
}

/// Passes each part around once; each rank adds its own.
fn sum_parts(ring: Ring, values: &mut [f32], buffer: &mut Vec<f32>) {
    for step in 0..ring.world - 1 {
        let (mine, theirs) = ring.parts(values.len(), step, 0);
        if buffer.len() < theirs.len() {
            buffer.resize(theirs.len(), 0.0);
        }
        let buffer = &mut buffer[..theirs.len()];
        exchange(ring, &values[mine], buffer);
        values[theirs].iter_mut().zip(buffer).for_each(|(value, other)| *value += *other);
    }
}

/// Passes each summed part around once more.
fn share_parts(ring: Ring, values: &mut [f32]) {
    for step in 0..ring.world - 1 {
        let (mine, theirs) = ring.parts(values.len(), step, 1);
        // Parts of different ranks are disjoint.
        if let Ok([mine, theirs]) = values.get_disjoint_mut([mine, theirs]) {
            exchange(ring, mine, theirs);
        }
    }
}

fn exchange(ring: Ring, mine: &[f32], theirs: &mut [f32]) {
    let all = SimpleCommunicator::world();
    let next = all.process_at_rank(ring.behind(ring.world - 1) as i32);
    let previous = all.process_at_rank(ring.behind(1) as i32);
    send_receive_into_with_tags(mine, &next, TAG, theirs, &previous, TAG);
}
