//! Ranks as processes under `mpirun`, with MPI's own collective operations.
//!
//! MPI has no timeouts. Each collective operation therefore begins with an arrival check, which
//! waits no longer than the timeout. Only then the operation itself starts, from which all ranks
//! return soon. MPI ends all ranks if one dies meanwhile.

mod poll_timeout;
mod ring;
mod arrival_check;

use crate::collective::ring::Ring;
use crate::collective::{
    Collective, CollectiveError, MessageSender, ring_all_gather, ring_all_reduce,
};
use crate::error::TrainError;
use arrival_check::{Announcement, ArrivalCheck};
use mpi::collective::SystemOperation;
use mpi::datatype::PartitionMut;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{
    Communicator, CommunicatorCollectives, Destination, MatchedReceiveVec, Root, Source,
};
use mpi::{Tag, Threading};
use poll_timeout::PollTimeout;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

/// Upper limit of buffered messages in bytes. Memory is used only as needed.
const MESSAGES_BYTES_MAX: usize = 1 << 30;
/// Least length of sums around a ring. Shorter ones use MPI's own sum: it takes fewer steps with
/// many ranks, and the copy that it needs is cheap.
const RING_LEN_MIN: usize = 4096;

/// Runs `work` as one rank of those that `mpirun` started.
///
/// An operation waits for others at most `timeout`. After an error the process must end, whereupon
/// `mpirun` ends the other ranks.
///
/// # Errors
/// Fails when MPI does not start, or with the error of `work`.
pub fn ranks<T>(
    timeout: Duration,
    work: impl FnOnce(Box<dyn Collective>) -> Result<T, TrainError>,
) -> Result<T, TrainError> {
    let Some((universe, threading)) = mpi::initialize_with_threading(Threading::Multiple) else {
        return Err(TrainError::Mpi("it already runs in this process".to_owned()));
    };
    // MPI's finalization waits for the other ranks, in vain after an error.
    let mut universe = ManuallyDrop::new(universe);
    if threading != Threading::Multiple {
        let problem =
            "it supports one communicating thread only; use an MPI with MPI_THREAD_MULTIPLE";
        return Err(TrainError::Mpi(problem.to_owned()));
    }
    universe.set_buffer_size(MESSAGES_BYTES_MAX);
    let result = work(Box::new(MpiCollective::new(timeout)))?;
    drop(ManuallyDrop::into_inner(universe));
    Ok(result)
}

/// Connection of a rank to the group of all processes.
struct MpiCollective {
    rank: usize,
    world: usize,
    timeout: Duration,
    sender: MpiSender,
    /// Collective operations so far.
    number: u64,
    /// Messages received so far.
    received: u64,
    /// Buffer for the numbers of other ranks.
    buffer: Vec<f32>,
}

/// Sender of a connection's messages.
#[derive(Clone)]
struct MpiSender {
    rank: usize,
    /// Tag of the messages; distinguishes the connection from its duplicates.
    tag: Tag,
    bytes_sent: Arc<AtomicU64>,
}

/// Tag of the messages of the first connection.
const FIRST_TAG: Tag = 0;
/// Tag of the next duplicate, counted by rank 0. Its two successors are for messages of its
/// collective operations and for its arrival checks. The first connection has separate tags for
/// these.
static NEXT_TAG: AtomicI32 = AtomicI32::new(ring::TAG + 1);

/// Names of the operations; ranks exchange their indices.
const OPERATIONS: [&str; 3] = ["all-reduce", "all-gather", "broadcast"];
const ALL_REDUCE: usize = 0;
const ALL_GATHER: usize = 1;
const BROADCAST: usize = 2;

/// The communicator of all processes; a cheap handle that each thread creates for itself.
fn all() -> SimpleCommunicator {
    SimpleCommunicator::world()
}

impl MpiCollective {
    fn new(timeout: Duration) -> Self {
        let rank = usize::try_from(all().rank()).unwrap_or(0);
        let world = usize::try_from(all().size()).unwrap_or(1);
        let sender = MpiSender { rank, tag: FIRST_TAG, bytes_sent: Arc::default() };
        Self { rank, world, timeout, sender, number: 0, received: 0, buffer: Vec::new() }
    }

    /// Returns true if MPI performs the collective operations. Duplicates use messages: MPI
    /// separates messages by tag, but not collective operations.
    fn uses_mpi_operations(&self) -> bool {
        self.sender.tag == FIRST_TAG
    }

    /// The connection whose messages carry this one's collective operations.
    fn over_messages(&self) -> Self {
        let sender = MpiSender { tag: self.sender.tag + 1, ..self.sender.clone() };
        Self { sender, buffer: Vec::new(), ..*self }
    }

    fn arrival_tag(&self) -> Tag {
        if self.uses_mpi_operations() { arrival_check::TAG } else { self.sender.tag + 2 }
    }

    /// Sends the bytes of `root` to each rank by a message.
    fn send_to_all(&mut self, root: usize, bytes: &mut Vec<u8>) -> Result<(), CollectiveError> {
        if self.rank != root {
            *bytes = self.receive(root)?;
            return Ok(());
        }
        let mut others = (0..self.world).filter(|rank| *rank != root);
        others.try_for_each(|rank| self.send(rank, bytes))
    }

    /// Waits until all ranks have arrived, and checks that they call the same operation.
    fn check_arrivals(&mut self, operation: usize, len: usize) -> Result<(), CollectiveError> {
        self.number += 1;
        let ours = [operation as u64, len as u64];
        let mut check = ArrivalCheck::announce(self.arrival_tag(), self.rank, self.world, ours);
        let mut poll = PollTimeout::new(self.timeout);
        while !check.missing().is_empty() {
            if let Some((rank, theirs)) = check.next() {
                self.compare(ours, rank, theirs)?;
            } else if poll.is_expired() {
                let (name, number) = (OPERATIONS[operation], self.number - 1);
                return Err(self.timed_out(name, number, &poll, check.missing().to_vec()));
            } else {
                poll.pause();
            }
        }
        Ok(())
    }

    /// Fails if another rank calls a different operation.
    fn compare(
        &self,
        ours: Announcement,
        rank: usize,
        theirs: Announcement,
    ) -> Result<(), CollectiveError> {
        if ours == theirs {
            return Ok(());
        }
        let describe = |[operation, len]: Announcement| {
            let name = OPERATIONS.get(operation as usize).unwrap_or(&"an unknown operation");
            format!("{name} number {} of {len}", self.number - 1)
        };
        let problem = format!("{} here, {} at rank {rank}", describe(ours), describe(theirs));
        Err(CollectiveError::Mismatch { rank: self.rank, problem })
    }

    fn timed_out(
        &self,
        operation: &'static str,
        number: u64,
        poll: &PollTimeout,
        missing: Vec<usize>,
    ) -> CollectiveError {
        CollectiveError::Timeout {
            rank: self.rank,
            operation,
            number,
            waited_ms: poll.waited_ms(),
            missing,
        }
    }

    /// Counts bytes sent to other ranks.
    fn count(&self, bytes: usize) {
        self.sender.bytes_sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Waits for the next message from `source`.
    fn wait_for(
        &mut self,
        source: &impl Source,
        missing: impl FnOnce() -> Vec<usize>,
    ) -> Result<(usize, Vec<u8>), CollectiveError> {
        self.received += 1;
        let mut poll = PollTimeout::new(self.timeout);
        loop {
            if let Some(message) = source.immediate_matched_probe_with_tag(self.sender.tag) {
                let (bytes, status) = message.matched_receive_vec();
                return Ok((usize::try_from(status.source_rank()).unwrap_or(0), bytes));
            }
            if poll.is_expired() {
                return Err(self.timed_out("receive", self.received - 1, &poll, missing()));
            }
            poll.pause();
        }
    }
}

impl Collective for MpiCollective {
    fn rank(&self) -> usize {
        self.rank
    }

    fn world(&self) -> usize {
        self.world
    }

    /// MPI does not report its traffic. This counts the minimum, that of a ring.
    fn all_reduce(&mut self, values: &mut [f32]) -> Result<(), CollectiveError> {
        self.check_arrivals(ALL_REDUCE, values.len())?;
        if !self.uses_mpi_operations() {
            return ring_all_reduce(&mut self.over_messages(), values);
        }
        self.count(8 * values.len() * (self.world - 1) / self.world);
        if values.len() >= RING_LEN_MIN {
            ring::sum(Ring { rank: self.rank, world: self.world }, values, &mut self.buffer);
            return Ok(());
        }
        self.buffer.resize(values.len().max(self.buffer.len()), 0.0);
        let sums = &mut self.buffer[..values.len()];
        all().all_reduce_into(&*values, sums, SystemOperation::sum());
        values.copy_from_slice(sums);
        Ok(())
    }

    fn all_gather(&mut self, mine: &[u8]) -> Result<Vec<Vec<u8>>, CollectiveError> {
        self.check_arrivals(ALL_GATHER, 0)?;
        if !self.uses_mpi_operations() {
            return ring_all_gather(&mut self.over_messages(), mine);
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
        self.check_arrivals(BROADCAST, root)?;
        if !self.uses_mpi_operations() {
            return self.over_messages().send_to_all(root, bytes);
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
        self.sender.send(to, bytes)
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
        let mut tag = NEXT_TAG.load(Ordering::Relaxed).to_ne_bytes().to_vec();
        if self.rank == 0 {
            tag = NEXT_TAG.fetch_add(3, Ordering::Relaxed).to_ne_bytes().to_vec();
        }
        self.broadcast(0, &mut tag)?;
        let tag = tag.first_chunk().map_or(FIRST_TAG, |tag| Tag::from_ne_bytes(*tag));
        let sender = MpiSender { rank: self.rank, tag, bytes_sent: Arc::default() };
        let (number, received) = (0, 0);
        Ok(Box::new(Self { sender, number, received, buffer: Vec::new(), ..*self }))
    }

    fn sender(&self) -> Box<dyn MessageSender> {
        Box::new(self.sender.clone())
    }

    fn bytes_sent(&self) -> u64 {
        self.sender.bytes_sent()
    }
}

impl MessageSender for MpiSender {
    /// MPI copies the message until it is received.
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
