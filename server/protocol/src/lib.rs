//! Messages of the Open Inference Protocol ("KServe v2"), with the extensions of Triton's clients.
//!
//! Protobuf is in [`grpc`], JSON in [`json`], and the wire format in [`codec`]. Names outside of
//! messages are here. Validation is left to servers, and construction to clients.

pub mod codec;
mod datatype;
pub mod grpc;
pub mod json;
pub mod prometheus;

pub use datatype::DataType;

/// HTTP header with the bytes of JSON in a body, if raw tensors follow. Requests and responses have
/// it.
pub const HEADER_LENGTH: &str = "inference-header-content-length";

/// Names of the parameters of requests, responses and tensors.
pub mod parameter {
    /// Requested output, bool: its elements are to be raw, after the JSON.
    pub const BINARY_DATA: &str = "binary_data";
    /// Tensor, integer: bytes of its raw elements, which follow the JSON.
    pub const BINARY_DATA_SIZE: &str = "binary_data_size";
    /// Request, bool: all outputs are to be raw, unless an output says otherwise.
    pub const BINARY_DATA_OUTPUT: &str = "binary_data_output";
    /// Input, bool: elements of BYTES may be objects such as `{"b64": "aGk="}` in JSON. Requested
    /// output, bool: its BYTES are to be such objects in JSON.
    pub const B64: &str = "b64";
    /// Request, bool: BYTES of all outputs are to be base64 in JSON, unless an output says otherwise.
    pub const B64_OUTPUT: &str = "b64_output";
    /// Requested output, integer: number of the highest classes to return.
    pub const CLASSIFICATION: &str = "classification";

    /// Request, integer or string: id of its sequence.
    pub const SEQUENCE_ID: &str = "sequence_id";
    /// Request, bool: it is the first of its sequence.
    pub const SEQUENCE_START: &str = "sequence_start";
    /// Request, bool: it is the last of its sequence.
    pub const SEQUENCE_END: &str = "sequence_end";
    /// Request, integer: priority, where 1 is the highest and 0 the model's default.
    pub const PRIORITY: &str = "priority";
    /// Request, integer: longest wait in the queue, in microseconds.
    pub const TIMEOUT: &str = "timeout";

    /// Tensor, string: shared-memory region of its elements.
    pub const SHARED_MEMORY_REGION: &str = "shared_memory_region";
    /// Tensor, integer: offset in the region, in bytes.
    pub const SHARED_MEMORY_OFFSET: &str = "shared_memory_offset";
    /// Tensor, integer: bytes of its elements in the region.
    pub const SHARED_MEMORY_BYTE_SIZE: &str = "shared_memory_byte_size";

    /// Streamed request, bool: its end is to be a separate response.
    pub const ENABLE_EMPTY_FINAL_RESPONSE: &str = "triton_enable_empty_final_response";
    /// Streamed response, bool: it is the last of its request.
    pub const FINAL_RESPONSE: &str = "triton_final_response";

    /// Unload, bool: models that only this one needed are unloaded too.
    pub const UNLOAD_DEPENDENTS: &str = "unload_dependents";
    /// Load, string: configuration of the model as JSON, instead of the repository's.
    pub const CONFIG: &str = "config";
    /// Load, bytes (base64 over HTTP): start of the names of files, before `VERSION/NAME`.
    pub const FILE: &str = "file:";
}
