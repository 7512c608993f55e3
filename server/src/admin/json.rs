//! Converts gRPC messages to JSON: the same field names, numbers as numbers.

use crate::status::Error;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde_json::Value;
use skysail_engine::Error as EngineError;
use skysail_protocol::grpc::FILE_DESCRIPTOR_SET;
use std::sync::OnceLock;

/// Converts the message `inference.NAME` to JSON, with all fields but unset choices.
///
/// # Errors
/// When the message has another type.
pub(crate) fn to_json(name: &str, message: &impl Message) -> Result<Value, Error> {
    let internal = |error: String| Error::Engine(EngineError::Internal(error));
    let pool = pool().as_ref().map_err(|error| internal(error.clone()))?;
    let full_name = format!("inference.{name}");
    let descriptor = pool
        .get_message_by_name(&full_name)
        .ok_or_else(|| internal(format!("no message {full_name}")))?;
    let dynamic = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())
        .map_err(|error| internal(error.to_string()))?;
    let options = SerializeOptions::new()
        .use_proto_field_name(true)
        .stringify_64_bit_integers(false)
        .skip_default_fields(false);
    let mut value = dynamic
        .serialize_with_options(serde_json::value::Serializer, &options)
        .map_err(|error| internal(error.to_string()))?;
    drop_nulls(&mut value);
    Ok(value)
}

/// Converts JSON by the schema's names to the message `inference.NAME`; `None` if it does not fit.
pub(crate) fn from_json<T: Message + Default>(name: &str, value: &Value) -> Option<T> {
    let pool = pool().as_ref().ok()?;
    let descriptor = pool.get_message_by_name(&format!("inference.{name}"))?;
    DynamicMessage::deserialize(descriptor, value).ok()?.transcode_to().ok()
}

fn pool() -> &'static Result<DescriptorPool, String> {
    static POOL: OnceLock<Result<DescriptorPool, String>> = OnceLock::new();
    POOL.get_or_init(|| {
        DescriptorPool::decode(FILE_DESCRIPTOR_SET).map_err(|error| error.to_string())
    })
}

/// Removes unset messages.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skysail_protocol::grpc::{ModelMetadataResponse, ServerReadyResponse};

    #[test]
    fn fields_with_default_values_are_present() {
        let json = to_json("ServerReadyResponse", &ServerReadyResponse { ready: false }).unwrap();
        assert_eq!(json.to_string(), r#"{"ready":false}"#);
        let metadata = ModelMetadataResponse { name: "m".into(), ..Default::default() };
        let json = to_json("ModelMetadataResponse", &metadata).unwrap();
        assert_eq!(json["inputs"], serde_json::json!([]));
    }
}
