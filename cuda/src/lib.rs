//! GPUs: their memory, and collective operations between them by NCCL.
//!
//! It builds on every machine: NVIDIA's libraries are looked for when a program asks for a GPU,
//! and where there is none, [`Device::open`] and [`GroupId::new`] say what is missing.

mod device;
mod group;
mod libraries;
mod error;

pub use device::{Buffer, Device, Element};
pub use error::CudaError;
pub use group::{Communicator, GroupId};
