//! Ranks as processes under `mpirun`, on MPI's own collective operations.
//!
//! MPI has no deadlines. So each collective operation begins with a roll call, which waits no longer
//! than the deadline; only then comes the operation itself, from which all ranks return soon. Where
//! one dies meanwhile, MPI ends the others.

mod patience;
mod ring;
mod roll;

use crate::collective::ring::Ring;
use crate::collective::{Collective, CollectiveError, Outbox, ring_all_gather, ring_all_reduce};
use crate::error::TrainError;
use mpi::collective::SystemOperation;
use mpi::datatype::PartitionMut;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{
    Communicator, CommunicatorCollectives, Destination, MatchedReceiveVec, Root, Source,
};
use mpi::{Tag, Threading};
use patience::Patience;
use roll::{Coming, Roll};
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

/// What all messages on their way may take together. Memory is used as they need it only.
const MESSAGES_BYTES_MAX: usize = 1 << 30;
/// So many numbers are summed round a ring, fewer by MPI's own sum: it takes fewer steps where there
/// are many ranks, and the copy that it needs costs little.
const RING_LEN_MIN: usize = 4096;

/// Runs `work` as one rank of those that `mpirun` has started.
///
/// An operation waits for others at most `deadline`. After an error the process must end: `mpirun`
/// then ends the other ranks.
///
/// # Errors
/// When MPI does not start, or that of `work`.
pub fn ranks<T>(
    deadline: Duration,
    work: impl FnOnce(Box<dyn Collective>) -> Result<T, TrainError>,
) -> Result<T, TrainError> {
    let Some((universe, threading)) = mpi::initialize_with_threading(Threading::Multiple) else {
        return Err(TrainError::Mpi("it already runs in this process".to_owned()));
    };
    // To leave MPI in order would mean to wait for the other ranks, after an error in vain.
    let mut universe = ManuallyDrop::new(universe);
    if threading != Threading::Multiple {
        let problem = "it lets one thread only communicate; take one with MPI_THREAD_MULTIPLE";
        return Err(TrainError::Mpi(problem.to_owned()));
    }
    universe.set_buffer_size(MESSAGES_BYTES_MAX);
    let result = work(Box::new(End::new(deadline)))?;
    drop(ManuallyDrop::into_inner(universe));
    Ok(result)
}

/// A rank's end of the group of all processes.
struct End {
    rank: usize,
    world: usize,
    deadline: Duration,
    outbox: Sending,
    /// Collective operations so far.
    number: u64,
    /// Messages received so far.
    received: u64,
    /// Where numbers of others come to.
    room: Vec<f32>,
}

/// What sends an end's messages.
#[derive(Clone)]
struct Sending {
    rank: usize,
    /// Tells the messages of an end from those of its duplicates.
    tag: Tag,
    bytes_sent: Arc<AtomicU64>,
}

/// The tag of the messages of the first end.
const FIRST: Tag = 0;
/// The tag of the next duplicate's, where rank 0 counts; the two tags after it are for what its
/// collective operations say and for their roll calls. The first end has its own for these.
static NEXT: AtomicI32 = AtomicI32::new(ring::TAG + 1);

/// The operations that MPI does, as ranks tell them to each other.
const OPERATIONS: [&str; 3] = ["all-reduce", "all-gather", "broadcast"];
const ALL_REDUCE: usize = 0;
const ALL_GATHER: usize = 1;
const BROADCAST: usize = 2;

/// All processes. A handle like any other: each thread makes its own.
fn all() -> SimpleCommunicator {
    SimpleCommunicator::world()
}

impl End {
    fn new(deadline: Duration) -> Self {
        let rank = usize::try_from(all().rank()).unwrap_or(0);
        let world = usize::try_from(all().size()).unwrap_or(1);
        let outbox = Sending { rank, tag: FIRST, bytes_sent: Arc::default() };
        Self { rank, world, deadline, outbox, number: 0, received: 0, room: Vec::new() }
    }

    /// Whether MPI does its collective operations, or messages do: MPI tells messages of several
    /// ends apart, but not collective operations.
    fn is_first(&self) -> bool {
        self.outbox.tag == FIRST
    }

    /// The end whose messages do this one's collective operations.
    fn aside(&self) -> Self {
        let outbox = Sending { tag: self.outbox.tag + 1, ..self.outbox.clone() };
        Self { outbox, room: Vec::new(), ..*self }
    }

    fn roll_tag(&self) -> Tag {
        if self.is_first() { roll::TAG } else { self.outbox.tag + 2 }
    }

    /// Gives all ranks what `root` has, by a message to each.
    fn tell(&mut self, root: usize, bytes: &mut Vec<u8>) -> Result<(), CollectiveError> {
        if self.rank != root {
            *bytes = self.receive(root)?;
            return Ok(());
        }
        let mut others = (0..self.world).filter(|rank| *rank != root);
        others.try_for_each(|rank| self.send(rank, bytes))
    }

    /// Waits until all ranks have come to the operation, and checks that it is the same one.
    fn arrive(&mut self, operation: usize, len: usize) -> Result<(), CollectiveError> {
        self.number += 1;
        let ours = [operation as u64, len as u64];
        let mut roll = Roll::call(self.roll_tag(), self.rank, self.world, ours);
        let mut patience = Patience::new(self.deadline);
        while !roll.missing().is_empty() {
            if let Some((rank, theirs)) = roll.next() {
                self.compare(ours, rank, theirs)?;
            } else if patience.is_over() {
                let (name, number) = (OPERATIONS[operation], self.number - 1);
                return Err(self.late(name, number, &patience, roll.missing().to_vec()));
            } else {
                patience.wait();
            }
        }
        Ok(())
    }

    /// Fails where another rank does not do the same.
    fn compare(&self, ours: Coming, rank: usize, theirs: Coming) -> Result<(), CollectiveError> {
        if ours == theirs {
            return Ok(());
        }
        let say = |[operation, len]: Coming| {
            let name = OPERATIONS.get(operation as usize).unwrap_or(&"nothing known");
            format!("{name} number {} of {len}", self.number - 1)
        };
        let problem = format!("{} here, {} at rank {rank}", say(ours), say(theirs));
        Err(CollectiveError::Mismatch { rank: self.rank, problem })
    }

    fn late(
        &self,
        operation: &'static str,
        number: u64,
        patience: &Patience,
        missing: Vec<usize>,
    ) -> CollectiveError {
        CollectiveError::Late {
            rank: self.rank,
            operation,
            number,
            waited_ms: patience.waited_ms(),
            missing,
        }
    }

    /// Counts bytes on their way to others.
    fn count(&self, bytes: usize) {
        self.outbox.bytes_sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Waits for the next message from `source`.
    fn wait_for(
        &mut self,
        source: &impl Source,
        missing: impl FnOnce() -> Vec<usize>,
    ) -> Result<(usize, Vec<u8>), CollectiveError> {
        self.received += 1;
        let mut patience = Patience::new(self.deadline);
        loop {
            if let Some(message) = source.immediate_matched_probe_with_tag(self.outbox.tag) {
                let (bytes, status) = message.matched_receive_vec();
                return Ok((usize::try_from(status.source_rank()).unwrap_or(0), bytes));
            }
            if patience.is_over() {
                return Err(self.late("receive", self.received - 1, &patience, missing()));
            }
            patience.wait();
        }
    }
}

impl Collective for End {
    fn rank(&self) -> usize {
        self.rank
    }

    fn world(&self) -> usize {
        self.world
    }

    /// What MPI sends is its own affair; counted is what the best way takes, round a ring.
    fn all_reduce(&mut self, values: &mut [f32]) -> Result<(), CollectiveError> {
        self.arrive(ALL_REDUCE, values.len())?;
        if !self.is_first() {
            return ring_all_reduce(&mut self.aside(), values);
        }
        self.count(8 * values.len() * (self.world - 1) / self.world);
        if values.len() >= RING_LEN_MIN {
            ring::sum(Ring { rank: self.rank, world: self.world }, values, &mut self.room);
            return Ok(());
        }
        self.room.resize(values.len().max(self.room.len()), 0.0);
        let sums = &mut self.room[..values.len()];
        all().all_reduce_into(&*values, sums, SystemOperation::sum());
        values.copy_from_slice(sums);
        Ok(())
    }

    fn all_gather(&mut self, mine: &[u8]) -> Result<Vec<Vec<u8>>, CollectiveError> {
        self.arrive(ALL_GATHER, 0)?;
        if !self.is_first() {
            return ring_all_gather(&mut self.aside(), mine);
        }
        let mut lens = vec![0_u64; self.world];
        all().all_gather_into(&(mine.len() as u64), &mut lens[..]);
        let total: u64 = lens.iter().sum();
        if total == 0 {
            return Ok(vec![Vec::new(); self.world]);
        }
        if i32::try_from(total).is_err() {
            let problem = format!("{total} bytes are more than MPI can gather at once");
            return Err(CollectiveError::Mismatch { rank: self.rank, problem });
        }
        self.count(mine.len() * (self.world - 1));
        let counts: Vec<i32> = lens.iter().map(|len| *len as i32).collect();
        let starts =
            counts.iter().scan(0, |next, count| Some(std::mem::replace(next, *next + count)));
        let starts: Vec<i32> = starts.collect();
        let mut bytes = vec![0; total as usize];
        let mut parts = PartitionMut::new(&mut bytes[..], &counts[..], &starts[..]);
        all().all_gather_varcount_into(mine, &mut parts);
        let mut rest = bytes.as_slice();
        let cut = |len: &u64| rest.split_off(..*len as usize).unwrap_or(&[]).to_vec();
        Ok(lens.iter().map(cut).collect())
    }

    fn broadcast(&mut self, root: usize, bytes: &mut Vec<u8>) -> Result<(), CollectiveError> {
        self.arrive(BROADCAST, root)?;
        if !self.is_first() {
            return self.aside().tell(root, bytes);
        }
        let from = all();
        let from = from.process_at_rank(root as i32);
        let mut len = bytes.len() as u64;
        from.broadcast_into(&mut len);
        bytes.resize(len as usize, 0);
        bytes.chunks_mut(i32::MAX as usize).for_each(|bytes| from.broadcast_into(bytes));
        if self.rank == root {
            self.count(bytes.len() * (self.world - 1));
        }
        Ok(())
    }

    fn send(&mut self, to: usize, bytes: &[u8]) -> Result<(), CollectiveError> {
        self.outbox.send(to, bytes)
    }

    fn receive(&mut self, from: usize) -> Result<Vec<u8>, CollectiveError> {
        let all = all();
        let source = all.process_at_rank(from as i32);
        self.wait_for(&source, || vec![from]).map(|(_, bytes)| bytes)
    }

    fn receive_any(&mut self) -> Result<(usize, Vec<u8>), CollectiveError> {
        let (rank, world) = (self.rank, self.world);
        let others = || (0..world).filter(|other| *other != rank).collect();
        self.wait_for(&all().any_process(), others)
    }

    fn duplicate(&mut self) -> Result<Box<dyn Collective>, CollectiveError> {
        let mut tag = NEXT.load(Ordering::Relaxed).to_ne_bytes().to_vec();
        if self.rank == 0 {
            tag = NEXT.fetch_add(3, Ordering::Relaxed).to_ne_bytes().to_vec();
        }
        self.broadcast(0, &mut tag)?;
        let tag = tag.first_chunk().map_or(FIRST, |tag| Tag::from_ne_bytes(*tag));
        let outbox = Sending { rank: self.rank, tag, bytes_sent: Arc::default() };
        let (number, received) = (0, 0);
        Ok(Box::new(Self { outbox, number, received, room: Vec::new(), ..*self }))
    }

    fn outbox(&self) -> Box<dyn Outbox> {
        Box::new(self.outbox.clone())
    }

    fn bytes_sent(&self) -> u64 {
        self.outbox.bytes_sent()
    }
}

impl Outbox for Sending {
    /// MPI keeps a copy until the other rank takes it.
    fn send(&mut self, to: usize, bytes: &[u8]) -> Result<(), CollectiveError> {
        if bytes.len() > MESSAGES_BYTES_MAX / 2 {
            let problem = format!("a message of {} bytes is too large", bytes.len());
            return Err(CollectiveError::Mismatch { rank: self.rank, problem });
        }
        if to != self.rank {
            self.bytes_sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        all().process_at_rank(to as i32).buffered_send_with_tag(bytes, self.tag);
        Ok(())
    }

    fn bytes_sent(&self) -> u64 {
        self.bytes_sent.load(Ordering::Relaxed)
    }
}
