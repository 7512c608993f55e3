//! Why a GPU can not be used.

/// Why a GPU can not be used.
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
        /// Which one was asked for.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// The driver refused.
    #[error("{operation}: the GPU's driver says {problem}")]
    Driver {
        /// What was asked.
        operation: &'static str,
        /// What it said.
        problem: String,
    },
    /// NCCL refused.
    #[error("{operation}: NCCL says {problem}")]
    Nccl {
        /// What was asked.
        operation: &'static str,
        /// What it said.
        problem: String,
    },
    /// Buffers do not fit each other.
    #[error("{operation}: {found} elements, and {wanted} are wanted")]
    Length {
        /// What was asked.
        operation: &'static str,
        /// Elements that there are.
        found: usize,
        /// Elements that there should be.
        wanted: usize,
    },
    /// Other ranks did not take part.
    #[error("{operation} was not done within {waited_ms} ms; the group is closed")]
    Late {
        /// What was asked.
        operation: &'static str,
        /// How long was waited, in milliseconds.
        waited_ms: u64,
    },
    /// An earlier operation failed.
    #[error("{operation}: the group is closed, since an earlier operation failed")]
    Closed {
        /// What was asked.
        operation: &'static str,
    },
}
