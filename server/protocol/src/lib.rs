//! The Open Inference Protocol's messages (also called "KServe v2"), with the
//! extensions that Triton's clients use: protobuf in [`grpc`], JSON in [`json`],
//! the wire in [`codec`], and here the names that stand outside of them.
//!
//! It holds messages and names only. How a server decodes and checks them
//! is the server's; how a client makes them is the client's.

pub mod codec;
pub mod grpc;
pub mod json;
pub mod prometheus;

/// The HTTP header that says how many bytes of a body are JSON, when raw tensors follow them.
/// A request and a response carry it alike.
pub const HEADER_LENGTH: &str = "inference-header-content-length";

/// Names of the parameters of requests, responses and tensors.
pub mod parameter {
    /// Of a requested output, a bool: its elements are wanted raw, after the JSON.
    pub const BINARY_DATA: &str = "binary_data";
    /// Of a tensor, an integer: the bytes of its raw elements, which follow the JSON.
    pub const BINARY_DATA_SIZE: &str = "binary_data_size";
    /// Of a request, a bool: every output is wanted raw unless it says otherwise itself.
    pub const BINARY_DATA_OUTPUT: &str = "binary_data_output";
    /// Of a requested output, an integer: how many of the highest classes are wanted.
    pub const CLASSIFICATION: &str = "classification";

    /// Of a request, an integer or a string: the sequence that it belongs to.
    pub const SEQUENCE_ID: &str = "sequence_id";
    /// Of a request, a bool: it is the first of its sequence.
    pub const SEQUENCE_START: &str = "sequence_start";
    /// Of a request, a bool: it is the last of its sequence.
    pub const SEQUENCE_END: &str = "sequence_end";
    /// Of a request, an integer: its priority, 1 being the highest and 0 the model's default.
    pub const PRIORITY: &str = "priority";
    /// Of a request, an integer: how long it may wait in the queue, in microseconds.
    pub const TIMEOUT: &str = "timeout";

    /// Of a tensor, a string: the shared-memory region that its elements are in.
    pub const SHARED_MEMORY_REGION: &str = "shared_memory_region";
    /// Of a tensor, an integer: bytes from the region's beginning to the tensor's.
    pub const SHARED_MEMORY_OFFSET: &str = "shared_memory_offset";
    /// Of a tensor, an integer: the bytes of its elements in the region.
    pub const SHARED_MEMORY_BYTE_SIZE: &str = "shared_memory_byte_size";

    /// Of a streamed request, a bool: its end is wanted as a response of its own.
    pub const ENABLE_EMPTY_FINAL_RESPONSE: &str = "triton_enable_empty_final_response";
    /// Of a streamed response, a bool: it is the last of its request.
    pub const FINAL_RESPONSE: &str = "triton_final_response";

    /// Of an unload, a bool: the models that this one alone needed go too.
    pub const UNLOAD_DEPENDENTS: &str = "unload_dependents";
    /// Of a load, a string: the model's configuration as JSON, instead of the repository's.
    pub const CONFIG: &str = "config";
}
