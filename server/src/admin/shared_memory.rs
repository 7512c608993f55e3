//! Registration of shared memory. CUDA shared memory has no regions, as no tensor is on a GPU.

use crate::server::Server;
use crate::shared_memory::RegionStatus;
use crate::status::Error;
use serde_json::{Map, Value};
use skysail_protocol::grpc::system_shared_memory_status_response::RegionStatus as Region;
use skysail_protocol::grpc::{SystemSharedMemoryRegisterRequest, SystemSharedMemoryStatusResponse};

/// Describes a region, or all if the name is empty.
pub(crate) fn status(
    server: &Server,
    name: &str,
) -> Result<SystemSharedMemoryStatusResponse, Error> {
    let regions = server.shared_memory().status(some(name))?;
    let image = |RegionStatus { name, key, offset, byte_size }| {
        (name.clone(), Region { name, key, offset, byte_size })
    };
    Ok(SystemSharedMemoryStatusResponse { regions: regions.into_iter().map(image).collect() })
}

/// Registers a region.
pub(crate) fn register(
    server: &Server,
    request: SystemSharedMemoryRegisterRequest,
) -> Result<(), Error> {
    let SystemSharedMemoryRegisterRequest { name, key, offset, byte_size } = request;
    server.shared_memory().register(RegionStatus { name, key, offset, byte_size })
}

/// Forgets a region, or all if the name is empty. One that is not there is no error, as client
/// programs start with this call.
pub(crate) fn unregister(server: &Server, name: &str) {
    server.shared_memory().unregister(some(name));
}

/// The error of a request to register CUDA shared memory.
pub(crate) fn no_cuda() -> Error {
    Error::Unsupported(
        "CUDA shared memory is not supported by this server: use system shared memory".into(),
    )
}

/// Reads a request to register a region from its JSON.
///
/// # Errors
/// Names the field that is missing or has the wrong type.
pub(crate) fn register_request(
    name: String,
    object: &Map<String, Value>,
) -> Result<SystemSharedMemoryRegisterRequest, Error> {
    let natural = |field: &str, default: Option<u64>| match object.get(field) {
        None | Some(Value::Null) => default.ok_or_else(|| missing(field)),
        Some(value) => value.as_u64().ok_or_else(|| {
            Error::malformed(format!(
                "'{field}' of a shared memory region must be a natural number"
            ))
        }),
    };
    let key = match object.get("key") {
        None | Some(Value::Null) => Err(missing("key")),
        Some(Value::String(key)) => Ok(key.clone()),
        Some(_) => Err(Error::malformed("'key' of a shared memory region must be a string")),
    };
    let (offset, byte_size) = (natural("offset", Some(0))?, natural("byte_size", None)?);
    Ok(SystemSharedMemoryRegisterRequest { name, key: key?, offset, byte_size })
}

fn missing(field: &str) -> Error {
    Error::malformed(format!(
        "'{field}' is missing: a shared memory region needs key and byte_size"
    ))
}

fn some(name: &str) -> Option<&str> {
    Some(name).filter(|name| !name.is_empty())
}
