//! Sums on GPUs, one a rank, by NCCL over another engine.
//!
//! NCCL starts no ranks, waits for the missing for ever, and has no messages that the other rank
//! need not wait for. So the engine below does all that: its ranks meet before each sum, which
//! names who is late, and it carries bytes and messages. What is large, the sums, goes between GPUs.

use crate::collective::{Collective, CollectiveError, Outbox};
use skysail_cuda::{Buffer, Communicator, CudaError, Device, GroupId};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Lets a group sum on GPUs: this rank on the one of index `gpu`, from 0. All ranks call it, each
/// with a GPU of its own. Ends that it is duplicated to have the engine's own sums.
///
/// # Errors
/// `Gpu` when there is no GPU, no driver or no NCCL; what the engine says when a rank is late.
pub fn on_gpus(
    mut engine: Box<dyn Collective>,
    gpu: usize,
    deadline: Duration,
) -> Result<Box<dyn Collective>, CollectiveError> {
    let (rank, world) = (engine.rank(), engine.world());
    let failed = |source| CollectiveError::Gpu { rank, source };
    let device = Device::open(gpu).map_err(failed)?;
    let mut id = Vec::new();
    if rank == 0 {
        id = GroupId::new().map_err(failed)?.to_bytes().to_vec();
    }
    engine.broadcast(0, &mut id)?;
    let Some(id) = id.first_chunk().copied().map(GroupId::from_bytes) else {
        let problem = format!("a group's id of {} bytes", id.len());
        return Err(CollectiveError::Mismatch { rank, problem });
    };
    // Joining waits for ever: so all say first that they are there.
    engine.all_gather(&[])?;
    let group = Communicator::join(&device, id, (rank, world), deadline).map_err(failed)?;
    Ok(Box::new(End { engine, group, sums: None, bytes_sent: Arc::default() }))
}

struct End {
    engine: Box<dyn Collective>,
    group: Communicator,
    /// Where sums are made; as many numbers as the last sum had.
    sums: Option<Buffer<f32>>,
    /// By sums.
    bytes_sent: Arc<AtomicU64>,
}

impl End {
    /// Waits until all ranks have come, and checks that they sum as many numbers.
    fn arrive(&mut self, len: usize) -> Result<(), CollectiveError> {
        let mine = (len as u64).to_le_bytes();
        for (rank, theirs) in self.engine.all_gather(&mine)?.iter().enumerate() {
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

impl Collective for End {
    fn rank(&self) -> usize {
        self.engine.rank()
    }

    fn world(&self) -> usize {
        self.engine.world()
    }

    /// What NCCL sends is its own affair; counted is what the best way takes, round a ring.
    fn all_reduce(&mut self, values: &mut [f32]) -> Result<(), CollectiveError> {
        self.arrive(values.len())?;
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
        self.engine.all_gather(mine)
    }

    fn broadcast(&mut self, root: usize, bytes: &mut Vec<u8>) -> Result<(), CollectiveError> {
        self.engine.broadcast(root, bytes)
    }

    fn send(&mut self, to: usize, bytes: &[u8]) -> Result<(), CollectiveError> {
        self.engine.send(to, bytes)
    }

    fn receive(&mut self, from: usize) -> Result<Vec<u8>, CollectiveError> {
        self.engine.receive(from)
    }

    fn receive_any(&mut self) -> Result<(usize, Vec<u8>), CollectiveError> {
        self.engine.receive_any()
    }

    fn duplicate(&mut self) -> Result<Box<dyn Collective>, CollectiveError> {
        self.engine.duplicate()
    }

    fn outbox(&self) -> Box<dyn Outbox> {
        Box::new(Sending { engine: self.engine.outbox(), bytes_sent: self.bytes_sent.clone() })
    }

    fn bytes_sent(&self) -> u64 {
        self.engine.bytes_sent() + self.bytes_sent.load(Ordering::Relaxed)
    }
}

/// The engine's, which knows of what the sums sent.
struct Sending {
    engine: Box<dyn Outbox>,
    bytes_sent: Arc<AtomicU64>,
}

impl Outbox for Sending {
    fn send(&mut self, to: usize, bytes: &[u8]) -> Result<(), CollectiveError> {
        self.engine.send(to, bytes)
    }

    fn bytes_sent(&self) -> u64 {
        self.engine.bytes_sent() + self.bytes_sent.load(Ordering::Relaxed)
    }
}
