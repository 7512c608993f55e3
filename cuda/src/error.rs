//! Errors of GPUs and their communication.

/// Errors of GPUs and their communication.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CudaError {
    /// The driver is not installed.
    #[error("there is no GPU here: NVIDIA's driver (libcuda.so) is missing")]
    NoDriver,
    /// NCCL is not installed.
    #[error("NCCL (libnccl.so) is missing: NVIDIA's package libnccl2 has it")]
    NoNccl,
    /// The machine has fewer GPUs.
    #[error("there is no GPU {index}: this machine has {count}, counted from 0")]
    NoDevice {
        /// Index of the requested GPU.
        index: usize,
        /// Number of GPUs.
        count: usize,
    },
    /// The driver reported an error.
    #[error("{operation}: the GPU's driver says {problem}")]
    Driver {
        /// Name of the operation.
        operation: &'static str,
        /// Message of the library.
        problem: String,
    },
    /// NCCL reported an error.
    #[error("{operation}: NCCL says {problem}")]
    Nccl {
        /// Name of the operation.
        operation: &'static str,
        /// Message of the library.
        problem: String,
    },
    /// Lengths of buffers do not fit.
    #[error("{operation}: {found} elements, and {wanted} are wanted")]
    Length {
        /// Name of the operation.
        operation: &'static str,
        /// Number of elements.
        found: usize,
        /// Required number of elements.
        wanted: usize,
    },
    /// Other ranks did not take part in time.
    #[error("{operation} was not done within {waited_ms} ms; the group is closed")]
    Late {
        /// Name of the operation.
        operation: &'static str,
        /// Time waited, in milliseconds.
        waited_ms: u64,
    },
    /// An earlier operation failed.
    #[error("{operation}: the group is closed, since an earlier operation failed")]
    Closed {
        /// Name of the operation.
        operation: &'static str,
    },
}
