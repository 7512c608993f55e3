//! Collective operations and messages between ranks.

mod ring;
mod threads;
mod nccl;
#[cfg(feature = "mpi")]
pub mod mpi;

pub use nccl::with_nccl;
pub(crate) use ring::part;
pub use ring::{ring_all_gather, ring_all_reduce};
pub use threads::threads;

/// An error of a collective operation.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CollectiveError {
    /// Some ranks did not arrive within the timeout.
    #[error(
        "rank {rank}: {operation} number {number} waited {waited_ms} ms for {}",
        ranks(missing)
    )]
    Timeout {
        /// Rank that waited.
        rank: usize,
        /// Operation, such as `all-reduce`.
        operation: &'static str,
        /// Number of earlier operations.
        number: u64,
        /// Waiting time in milliseconds.
        waited_ms: u64,
        /// Ranks that did not arrive.
        missing: Vec<usize>,
    },
    /// Some ranks ended.
    #[error("rank {rank}: {operation} number {number}: {} ended", ranks(missing))]
    Gone {
        /// Rank that noticed.
        rank: usize,
        /// Operation in progress.
        operation: &'static str,
        /// Number of earlier operations.
        number: u64,
        /// Ranks that ended.
        missing: Vec<usize>,
    },
    /// Ranks called different operations.
    #[error("rank {rank}: {problem}")]
    Mismatch {
        /// Rank that noticed.
        rank: usize,
        /// The difference.
        problem: String,
    },
    /// The GPU of a rank failed.
    #[error("rank {rank}: {source}")]
    Gpu {
        /// Rank of the GPU.
        rank: usize,
        /// Cause.
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

/// The connection of one rank to a group of ranks. All ranks call the same operations in the same
/// order. Each operation has a timeout, and its error names the ranks that missed it.
///
/// Messages ([`Collective::send`]) are independent of that order. They arrive in the order in which
/// one rank sent them to another.
///
/// An implementation must provide messages. Operations without a faster implementation pass
/// messages around a ring.
pub trait Collective: Send {
    /// Rank of this process or thread, from 0.
    fn rank(&self) -> usize;

    /// Number of ranks.
    fn world(&self) -> usize;

    /// Sums `values` over all ranks. The result is bitwise the same on all ranks, and in every run.
    ///
    /// # Errors
    /// Fails when a rank is late or gone, or has another length.
    fn all_reduce(&mut self, values: &mut [f32]) -> Result<(), CollectiveError>;

    /// Returns the bytes of all ranks, in the order of ranks; lengths may differ.
    ///
    /// # Errors
    /// Fails when a rank is late or gone.
    fn all_gather(&mut self, mine: &[u8]) -> Result<Vec<Vec<u8>>, CollectiveError>;

    /// Copies the bytes of `root` to all ranks.
    ///
    /// # Errors
    /// Fails when a rank is late or gone.
    fn broadcast(&mut self, root: usize, bytes: &mut Vec<u8>) -> Result<(), CollectiveError>;

    /// Sends a message to a rank, possibly this one, without waiting for its receipt.
    ///
    /// # Errors
    /// Fails when the rank is gone.
    fn send(&mut self, to: usize, bytes: &[u8]) -> Result<(), CollectiveError>;

    /// Receives the next message from `from`.
    ///
    /// # Errors
    /// Fails when the rank is late or gone.
    fn receive(&mut self, from: usize) -> Result<Vec<u8>, CollectiveError>;

    /// Receives the next message from any rank, with the rank that sent it.
    ///
    /// # Errors
    /// Fails when none arrives within the timeout, or all other ranks are gone.
    fn receive_any(&mut self) -> Result<(usize, Vec<u8>), CollectiveError>;

    /// Creates another connection of the same ranks, for another thread of each. Operations and
    /// messages of the two do not mix. All ranks call it.
    ///
    /// # Errors
    /// Fails when a rank is late or gone.
    fn duplicate(&mut self) -> Result<Box<dyn Collective>, CollectiveError>;

    /// Returns a sender of this connection's messages, for another thread of the rank.
    fn sender(&self) -> Box<dyn MessageSender>;

    /// Bytes sent to other ranks, as the implementation counts them.
    fn bytes_sent(&self) -> u64;
}

/// Sends messages to other ranks.
pub trait MessageSender: Send {
    /// Sends a message to a rank, possibly this one, without waiting for its receipt.
    ///
    /// # Errors
    /// Fails when the rank is gone.
    fn send(&mut self, to: usize, bytes: &[u8]) -> Result<(), CollectiveError>;

    /// Bytes sent to other ranks, including those of the connection it belongs to.
    fn bytes_sent(&self) -> u64;
}
