//! Sums on GPUs with NCCL, one GPU per rank, on top of another collective.
//!
//! NCCL does not start ranks, waits for missing ones forever, and has no asynchronous messages. The
//! inner collective provides all that: its ranks meet before each sum, which names late ones, and
//! it carries bytes and messages. The large transfers, the sums, go between GPUs.

use crate::collective::{Collective, CollectiveError, MessageSender};
use skysail_cuda::{Buffer, Communicator, CudaError, Device, GroupId};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Makes a group sum on GPUs; this rank uses the GPU of index `gpu`, from 0. All ranks call it,
/// each with a GPU of its own. Duplicates use the sums of the inner collective.
///
/// # Errors
/// `Gpu` when there is no GPU, driver or NCCL; the error of the inner collective when a rank is
/// late.
pub fn with_nccl(
    mut inner: Box<dyn Collective>,
    gpu: usize,
    timeout: Duration,
) -> Result<Box<dyn Collective>, CollectiveError> {
    let (rank, world) = (inner.rank(), inner.world());
    let failed = |source| CollectiveError::Gpu { rank, source };
    let device = Device::open(gpu).map_err(failed)?;
    let mut id = Vec::new();
    if rank == 0 {
        id = GroupId::new().map_err(failed)?.to_bytes().to_vec();
    }
    inner.broadcast(0, &mut id)?;
    let Some(id) = id.first_chunk().copied().map(GroupId::from_bytes) else {
        let problem = format!("a group's id of {} bytes", id.len());
        return Err(CollectiveError::Mismatch { rank, problem });
    };
    // NCCL's join waits forever, so all ranks meet first.
    inner.all_gather(&[])?;
    let group = Communicator::join(&device, id, (rank, world), timeout).map_err(failed)?;
    Ok(Box::new(NcclCollective { inner, group, sums: None, bytes_sent: Arc::default() }))
}

struct NcclCollective {
    inner: Box<dyn Collective>,
    group: Communicator,
    /// Buffer of the last sum's length.
    sums: Option<Buffer<f32>>,
    /// Bytes sent by sums.
    bytes_sent: Arc<AtomicU64>,
}

impl NcclCollective {
    /// Waits until all ranks have arrived, and checks that their lengths are equal.
    fn check_lengths(&mut self, len: usize) -> Result<(), CollectiveError> {
        let mine = (len as u64).to_le_bytes();
        for (rank, theirs) in self.inner.all_gather(&mine)?.iter().enumerate() {
            if *theirs != mine {
                let problem = format!("all-reduce of {len} here, of another length at rank {rank}");
                return Err(CollectiveError::Mismatch { rank: self.rank(), problem });
            }
        }
        Ok(())
    }

    fn sum(&mut self, values: &mut [f32]) -> Result<(), CudaError> {
        let device = self.group.device().clone();
        let mut sums = match self.sums.take() {
            Some(sums) if sums.len() == values.len() => sums,
            _ => device.zeros(values.len())?,
        };
        device.upload(values, &mut sums)?;
        self.group.all_reduce(&mut sums)?;
        device.download(&sums, values)?;
        self.sums = Some(sums);
        Ok(())
    }
}

impl Collective for NcclCollective {
    fn rank(&self) -> usize {
        self.inner.rank()
    }

    fn world(&self) -> usize {
        self.inner.world()
    }

    /// NCCL does not report its traffic. This counts the minimum, that of a ring.
    fn all_reduce(&mut self, values: &mut [f32]) -> Result<(), CollectiveError> {
        self.check_lengths(values.len())?;
        if values.is_empty() {
            return Ok(());
        }
        let (rank, world) = (self.rank(), self.world());
        self.sum(values).map_err(|source| CollectiveError::Gpu { rank, source })?;
        let bytes = 8 * values.len() * (world - 1) / world;
        self.bytes_sent.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(())
    }

    fn all_gather(&mut self, mine: &[u8]) -> Result<Vec<Vec<u8>>, CollectiveError> {
        self.inner.all_gather(mine)
    }

    fn broadcast(&mut self, root: usize, bytes: &mut Vec<u8>) -> Result<(), CollectiveError> {
        self.inner.broadcast(root, bytes)
    }

    fn send(&mut self, to: usize, bytes: &[u8]) -> Result<(), CollectiveError> {
        self.inner.send(to, bytes)
    }

    fn receive(&mut self, from: usize) -> Result<Vec<u8>, CollectiveError> {
        self.inner.receive(from)
    }

    fn receive_any(&mut self) -> Result<(usize, Vec<u8>), CollectiveError> {
        self.inner.receive_any()
    }

    fn duplicate(&mut self) -> Result<Box<dyn Collective>, CollectiveError> {
        self.inner.duplicate()
    }

    fn sender(&self) -> Box<dyn MessageSender> {
        Box::new(NcclSender { inner: self.inner.sender(), bytes_sent: self.bytes_sent.clone() })
    }

    fn bytes_sent(&self) -> u64 {
        self.inner.bytes_sent() + self.bytes_sent.load(Ordering::Relaxed)
    }
}

/// Sender of the inner collective that also counts the bytes of sums.
struct NcclSender {
    inner: Box<dyn MessageSender>,
    bytes_sent: Arc<AtomicU64>,
}

impl MessageSender for NcclSender {
    fn send(&mut self, to: usize, bytes: &[u8]) -> Result<(), CollectiveError> {
        self.inner.send(to, bytes)
    }

    fn bytes_sent(&self) -> u64 {
        self.inner.bytes_sent() + self.bytes_sent.load(Ordering::Relaxed)
    }
}
