//! What ranks say to each other.

mod ring;
mod threads;
mod nccl;
#[cfg(feature = "mpi")]
pub mod mpi;

pub use nccl::on_gpus;
pub(crate) use ring::part;
pub use ring::{ring_all_gather, ring_all_reduce};
pub use threads::threads;

/// Why ranks could not agree on something.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CollectiveError {
    /// Some ranks did not come in time.
    #[error(
        "rank {rank}: {operation} number {number} waited {waited_ms} ms for {}",
        ranks(missing)
    )]
    Late {
        /// Who waited.
        rank: usize,
        /// What for, such as `all-reduce`.
        operation: &'static str,
        /// How many operations came before.
        number: u64,
        /// How long, in milliseconds.
        waited_ms: u64,
        /// Who did not come.
        missing: Vec<usize>,
    },
    /// Some ranks are gone.
    #[error("rank {rank}: {operation} number {number}: {} ended", ranks(missing))]
    Gone {
        /// Who found out.
        rank: usize,
        /// During what.
        operation: &'static str,
        /// How many operations came before.
        number: u64,
        /// Who is gone.
        missing: Vec<usize>,
    },
    /// Ranks do not do the same.
    #[error("rank {rank}: {problem}")]
    Mismatch {
        /// Who found out.
        rank: usize,
        /// What differs.
        problem: String,
    },
    /// A rank's GPU failed.
    #[error("rank {rank}: {source}")]
    Gpu {
        /// Whose.
        rank: usize,
        /// Why.
        source: skysail_cuda::CudaError,
    },
}

fn ranks(missing: &[usize]) -> String {
    let names: Vec<_> = missing.iter().map(usize::to_string).collect();
    match &names[..] {
        [one] => format!("rank {one}"),
        _ => format!("ranks {}", names.join(", ")),
    }
}

/// One rank's end of a group of ranks. All ranks call the same operations in the same order; each
/// operation has a deadline, and who misses it is named. Messages ([`Collective::send`]) are apart
/// from that order: they come in the order in which one rank sent them to another.
///
/// An engine needs to have messages; what it has no better way for goes round a ring of them.
pub trait Collective: Send {
    /// Which rank this is, from 0.
    fn rank(&self) -> usize;

    /// How many ranks there are.
    fn world(&self) -> usize;

    /// Sums `values` over all ranks, the same bits on each of them, and the same each time.
    ///
    /// # Errors
    /// When a rank is late or gone, or has another length.
    fn all_reduce(&mut self, values: &mut [f32]) -> Result<(), CollectiveError>;

    /// What each rank has, in the order of ranks; lengths may differ.
    ///
    /// # Errors
    /// When a rank is late or gone.
    fn all_gather(&mut self, mine: &[u8]) -> Result<Vec<Vec<u8>>, CollectiveError>;

    /// Gives all ranks what `root` has.
    ///
    /// # Errors
    /// When a rank is late or gone.
    fn broadcast(&mut self, root: usize, bytes: &mut Vec<u8>) -> Result<(), CollectiveError>;

    /// Sends to one rank, which may be this one, without waiting until it has it.
    ///
    /// # Errors
    /// When the rank is gone.
    fn send(&mut self, to: usize, bytes: &[u8]) -> Result<(), CollectiveError>;

    /// The next message that `from` sent.
    ///
    /// # Errors
    /// When the rank is late or gone.
    fn receive(&mut self, from: usize) -> Result<Vec<u8>, CollectiveError>;

    /// The next message from any rank, and whose it is.
    ///
    /// # Errors
    /// When none came in time, or all other ranks are gone.
    fn receive_any(&mut self) -> Result<(usize, Vec<u8>), CollectiveError>;

    /// Another end for the same ranks, whose operations and messages do not mix with this one's,
    /// so that another thread of the rank can use it. All ranks call it.
    ///
    /// # Errors
    /// When a rank is late or gone.
    fn duplicate(&mut self) -> Result<Box<dyn Collective>, CollectiveError>;

    /// What sends messages as this end does, from another thread of the rank.
    fn outbox(&self) -> Box<dyn Outbox>;

    /// Bytes that this rank has sent to others through this end, as its engine counts them.
    fn bytes_sent(&self) -> u64;
}

/// Sends messages from a rank to others.
pub trait Outbox: Send {
    /// Sends to one rank, which may be this one, without waiting until it has it.
    ///
    /// # Errors
    /// When the rank is gone.
    fn send(&mut self, to: usize, bytes: &[u8]) -> Result<(), CollectiveError>;

    /// Bytes that were sent to other ranks, by the end too that it is from.
    fn bytes_sent(&self) -> u64;
}
