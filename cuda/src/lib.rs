//! GPUs: memory, and collective operations by NCCL.
//!
//! The crate builds on every machine. NVIDIA's libraries are loaded when a program opens a GPU. If
//! there is none, [`Device::open`] and [`GroupId::new`] return an error that names what is missing.

mod device;
mod group;
mod libraries;
mod error;

pub use device::{Buffer, Device, Element};
pub use error::CudaError;
pub use group::{Communicator, GroupId};
