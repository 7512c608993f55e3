//! Sums round a ring in place: MPI puts what others have straight to where it belongs. Its own sum
//! needs a second buffer and a copy, and moves more memory.

use crate::collective::ring::Ring;
use mpi::Tag;
use mpi::point_to_point::send_receive_into_with_tags;
use mpi::topology::SimpleCommunicator;
use mpi::traits::Communicator;

/// The tag of parts on their way.
pub(super) const TAG: Tag = 2;
/// MPI counts a message's numbers in 31 bits.
const NUMBERS_MAX: usize = 1 << 30;

/// Sums `values` over all ranks, who all have come; `room` is for what comes in.
pub(super) fn sum(ring: Ring, values: &mut [f32], room: &mut Vec<f32>) {
    for values in values.chunks_mut(NUMBERS_MAX) {
        sum_parts(ring, values, room);
        share_parts(ring, values);
    }
}

/// Each part goes round once, and each rank adds its own.
fn sum_parts(ring: Ring, values: &mut [f32], room: &mut Vec<f32>) {
    for step in 0..ring.world - 1 {
        let (mine, theirs) = ring.parts(values.len(), step, 0);
        if room.len() < theirs.len() {
            room.resize(theirs.len(), 0.0);
        }
        let room = &mut room[..theirs.len()];
        pass(ring, &values[mine], room);
        values[theirs].iter_mut().zip(room).for_each(|(value, other)| *value += *other);
    }
}

/// Each part, now summed, goes round once more.
fn share_parts(ring: Ring, values: &mut [f32]) {
    for step in 0..ring.world - 1 {
        let (mine, theirs) = ring.parts(values.len(), step, 1);
        // Parts are of other ranks, and so apart.
        if let Ok([mine, theirs]) = values.get_disjoint_mut([mine, theirs]) {
            pass(ring, mine, theirs);
        }
    }
}

fn pass(ring: Ring, mine: &[f32], theirs: &mut [f32]) {
    let all = SimpleCommunicator::world();
    let next = all.process_at_rank(ring.behind(ring.world - 1) as i32);
    let previous = all.process_at_rank(ring.behind(1) as i32);
    send_receive_into_with_tags(mine, &next, TAG, theirs, &previous, TAG);
}
