//! Groups of ranks, each with a GPU, and their collective operations by NCCL.
#![expect(unsafe_code, reason = "moves a communicator between threads")]

use crate::device::same_length;
use crate::{Buffer, CudaError, Device, libraries};
use cudarc::nccl::result::{NcclError, NcclStatus};
use cudarc::nccl::{Comm, Id, ReduceOp};
use std::ffi::c_char;
use std::time::Duration;

/// Identifier of a group: one rank makes it, and sends it to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupId([u8; GroupId::BYTES]);

impl GroupId {
    /// Size of the identifier in bytes.
    pub const BYTES: usize = 128;

    /// Makes a new identifier.
    ///
    /// # Errors
    /// `NoDriver` or `NoNccl`; `Nccl` if it finds no network to listen on.
    pub fn new() -> Result<Self, CudaError> {
        libraries::nccl()?;
        let id = Id::new().map_err(nccl_error("making a group"))?;
        Ok(Self(id.internal().map(|byte| byte.cast_unsigned())))
    }

    /// Reads the identifier of another rank.
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// Bytes for the other ranks.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        self.0
    }
}

/// Communicator of one rank in a group, each with a GPU of its own.
///
/// An operation waits for the others until the group's deadline. After a failure, the group is
/// closed.
#[derive(Debug)]
pub struct Communicator {
    device: Device,
    rank: usize,
    world: usize,
    deadline: Duration,
    open: Option<Handle>,
}

/// Communicator of NCCL.
#[derive(Debug)]
struct Handle(Comm);

// SAFETY: NCCL lets any thread use a communicator, one at a time ("Using multiple NCCL
// communicators concurrently", user guide). It is neither cloned nor shared here, and each use
// needs `&mut Communicator`. Its stream is `Send` itself.
unsafe impl Send for Handle {}

fn nccl_error(operation: &'static str) -> impl Fn(NcclError) -> CudaError {
    move |error| CudaError::Nccl { operation, problem: format!("{:?}", error.0) }
}

impl Communicator {
    /// Joins a group as `rank` of `world`. All ranks must call it, as it waits for them; check
    /// first that all are present.
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
        let comm = comm.map_err(nccl_error(OPERATION))?;
        Ok(Self { device: device.clone(), rank, world, deadline, open: Some(Handle(comm)) })
    }

    /// GPU of this rank.
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

    /// Concatenates the bytes of all ranks, equally many each, into `all`.
    ///
    /// # Errors
    /// `Length`, or as [`Communicator::all_reduce`].
    pub fn all_gather(&mut self, own: &Buffer<u8>, all: &mut Buffer<u8>) -> Result<(), CudaError> {
        const OPERATION: &str = "all-gather";
        same_length(OPERATION, all.len(), own.len() * self.world)?;
        self.run(OPERATION, |comm| comm.all_gather(&own.slice, &mut all.slice))
    }

    /// Copies the bytes of `root` to all ranks.
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

    /// Converts a rank for NCCL.
    fn peer(&self, operation: &'static str, rank: usize) -> Result<i32, CudaError> {
        let known = i32::try_from(rank).ok().filter(|_| rank < self.world);
        known.ok_or(CudaError::Length { operation, found: rank, wanted: self.world })
    }

    /// Starts an operation and waits for it. After a timeout the whole group is closed, as NCCL
    /// cannot cancel a single operation.
    fn run(
        &mut self,
        operation: &'static str,
        start: impl FnOnce(&Comm) -> Result<NcclStatus, NcclError>,
    ) -> Result<(), CudaError> {
        let Handle(comm) = self.open.as_ref().ok_or(CudaError::Closed { operation })?;
        let bind = self.device.stream().context().bind_to_thread();
        let done = bind
            .map_err(crate::device::driver_error(operation))
            .and_then(|()| start(comm).map_err(nccl_error(operation)))
            .and_then(|_| self.device.is_done_within(self.deadline));
        match done {
            Ok(true) => return Ok(()),
            // Dropping the communicator aborts pending operations.
            Ok(false) | Err(_) => self.open = None,
        }
        let waited_ms = u64::try_from(self.deadline.as_millis()).unwrap_or(u64::MAX);
        done.and(Err(CudaError::Late { operation, waited_ms }))
    }

    /// Rank of this communicator, and number of ranks.
    pub fn place(&self) -> (usize, usize) {
        (self.rank, self.world)
    }
}
