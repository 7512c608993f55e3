//! Ranks that each have a GPU, and what they do together by NCCL.
#![expect(unsafe_code, reason = "moves a communicator between threads")]

use crate::device::same_length;
use crate::{Buffer, CudaError, Device, libraries};
use cudarc::nccl::result::{NcclError, NcclStatus};
use cudarc::nccl::{Comm, Id, ReduceOp};
use std::ffi::c_char;
use std::time::Duration;

/// What ranks know each other by: one makes it, and tells the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupId([u8; GroupId::BYTES]);

impl GroupId {
    /// Its size.
    pub const BYTES: usize = 128;

    /// A new one.
    ///
    /// # Errors
    /// `NoDriver` or `NoNccl`; `Nccl` where it finds no network to listen on.
    pub fn new() -> Result<Self, CudaError> {
        libraries::nccl()?;
        let id = Id::new().map_err(refused("making a group"))?;
        Ok(Self(id.internal().map(|byte| byte.cast_unsigned())))
    }

    /// One that another rank has made.
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// What to tell the other ranks.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        self.0
    }
}

/// One rank's end of a group of ranks, each with a GPU of its own.
///
/// An operation waits for the others at most as long as the group's deadline; after one that
/// failed, the group is closed.
#[derive(Debug)]
pub struct Communicator {
    device: Device,
    rank: usize,
    world: usize,
    deadline: Duration,
    open: Option<Handle>,
}

/// NCCL's own end.
#[derive(Debug)]
struct Handle(Comm);

// SAFETY: NCCL lets any thread use a communicator, as long as only one does at a time ("Using
// multiple NCCL communicators concurrently", user guide); it is neither cloned nor shared here, and
// each use needs `&mut Communicator`. The stream that it holds is `Send` itself.
unsafe impl Send for Handle {}

fn refused(operation: &'static str) -> impl Fn(NcclError) -> CudaError {
    move |error| CudaError::Nccl { operation, problem: format!("{:?}", error.0) }
}

impl Communicator {
    /// Joins a group as `rank` of `world`. All ranks call it, and it waits for them: see to it
    /// first that all are there.
    ///
    /// # Errors
    /// `NoDriver` or `NoNccl`; `Nccl`, such as when two ranks have the same GPU.
    pub fn join(
        device: &Device,
        id: GroupId,
        (rank, world): (usize, usize),
        deadline: Duration,
    ) -> Result<Self, CudaError> {
        const OPERATION: &str = "joining a group";
        libraries::nccl()?;
        if rank >= world || i32::try_from(world).is_err() {
            return Err(CudaError::Length { operation: OPERATION, found: rank, wanted: world });
        }
        let id = Id::uninit(id.0.map(|byte| byte as c_char));
        let comm = Comm::from_rank(device.stream().clone(), rank, world, id);
        let comm = comm.map_err(refused(OPERATION))?;
        Ok(Self { device: device.clone(), rank, world, deadline, open: Some(Handle(comm)) })
    }

    /// The GPU.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Sums a buffer over all ranks.
    ///
    /// # Errors
    /// `Nccl`, `Driver`, `Late` or `Closed`.
    pub fn all_reduce(&mut self, values: &mut Buffer<f32>) -> Result<(), CudaError> {
        self.run("all-reduce", |comm| comm.all_reduce_in_place(&mut values.slice, &ReduceOp::Sum))
    }

    /// Puts each rank's bytes, as many on all, one after another into `all`.
    ///
    /// # Errors
    /// `Length`, or as [`Communicator::all_reduce`].
    pub fn all_gather(&mut self, mine: &Buffer<u8>, all: &mut Buffer<u8>) -> Result<(), CudaError> {
        const OPERATION: &str = "all-gather";
        same_length(OPERATION, all.len(), mine.len() * self.world)?;
        self.run(OPERATION, |comm| comm.all_gather(&mine.slice, &mut all.slice))
    }

    /// Gives all ranks what `root` has.
    ///
    /// # Errors
    /// As [`Communicator::all_reduce`].
    pub fn broadcast(&mut self, root: usize, bytes: &mut Buffer<u8>) -> Result<(), CudaError> {
        let root = self.peer("broadcast", root)?;
        self.run("broadcast", |comm| comm.broadcast_in_place(&mut bytes.slice, root))
    }

    /// Sends to another rank, and waits until it receives.
    ///
    /// # Errors
    /// As [`Communicator::all_reduce`].
    pub fn send(&mut self, to: usize, bytes: &Buffer<u8>) -> Result<(), CudaError> {
        let to = self.peer("send", to)?;
        self.run("send", |comm| comm.send(&bytes.slice, to).map(|()| NcclStatus::Success))
    }

    /// Receives from another rank as many bytes as it sends.
    ///
    /// # Errors
    /// As [`Communicator::all_reduce`].
    pub fn receive(&mut self, from: usize, bytes: &mut Buffer<u8>) -> Result<(), CudaError> {
        let from = self.peer("receive", from)?;
        self.run("receive", |comm| comm.recv(&mut bytes.slice, from))
    }

    /// A rank as NCCL counts them.
    fn peer(&self, operation: &'static str, rank: usize) -> Result<i32, CudaError> {
        let known = i32::try_from(rank).ok().filter(|_| rank < self.world);
        known.ok_or(CudaError::Length { operation, found: rank, wanted: self.world })
    }

    /// Starts an operation and waits for it. One that does not end in time is given up with the
    /// whole group, as NCCL can not take back a single one.
    fn run(
        &mut self,
        operation: &'static str,
        start: impl FnOnce(&Comm) -> Result<NcclStatus, NcclError>,
    ) -> Result<(), CudaError> {
        let Handle(comm) = self.open.as_ref().ok_or(CudaError::Closed { operation })?;
        let bind = self.device.stream().context().bind_to_thread();
        let done = bind
            .map_err(crate::device::refused(operation))
            .and_then(|()| start(comm).map_err(refused(operation)))
            .and_then(|_| self.device.is_done_within(self.deadline));
        match done {
            Ok(true) => return Ok(()),
            // Dropped, it aborts what is under way.
            Ok(false) | Err(_) => self.open = None,
        }
        let waited_ms = u64::try_from(self.deadline.as_millis()).unwrap_or(u64::MAX);
        done.and(Err(CudaError::Late { operation, waited_ms }))
    }

    /// Which rank this is, and how many there are.
    pub fn place(&self) -> (usize, usize) {
        (self.rank, self.world)
    }
}
