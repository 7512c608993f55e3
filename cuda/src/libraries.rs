//! NVIDIA's libraries, which are searched before any call: a call would panic without them.
#![expect(unsafe_code, reason = "opens libraries")]

use crate::CudaError;
use std::sync::OnceLock;

/// Fails if the GPU's driver is missing.
pub(crate) fn driver() -> Result<(), CudaError> {
    static FOUND: OnceLock<bool> = OnceLock::new();
    // SAFETY: opens a shared library of a fixed name, whose initialisation is trusted; nothing of
    // it is called.
    let found = *FOUND.get_or_init(|| unsafe { cudarc::driver::sys::is_culib_present() });
    found.then_some(()).ok_or(CudaError::NoDriver)
}

/// Fails if NCCL, or the driver that it needs, is missing.
pub(crate) fn nccl() -> Result<(), CudaError> {
    static FOUND: OnceLock<bool> = OnceLock::new();
    driver()?;
    // SAFETY: as above.
    let found = *FOUND.get_or_init(|| unsafe { cudarc::nccl::sys::is_culib_present() });
    found.then_some(()).ok_or(CudaError::NoNccl)
}
