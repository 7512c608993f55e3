//! HTTP responses to all requests but inference: the gRPC messages as JSON.

use super::route::{Admin, RegionAction, Target};
use super::{ChunkedBody, OFFLOAD_BYTES, json_response, offload};
use crate::admin::{self, json::to_json};
use crate::decode;
use crate::server::Server;
use crate::status::Error;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{Method, Response, StatusCode};
use serde_json::{Map, Value, json};
use skysail_engine::payload::Payload;
use skysail_protocol::grpc::ModelRepositoryParameter;
use skysail_protocol::grpc::model_repository_parameter::ParameterChoice;
use skysail_protocol::parameter;
use smallvec::SmallVec;
use std::collections::{BTreeSet, HashMap};

/// Answers a request of an admin route.
pub(super) async fn respond(
    server: &Server,
    method: &Method,
    route: Admin,
    body: &Payload,
) -> Result<Response<ChunkedBody>, Error> {
    let json = match route {
        Admin::Live => json!({"live": true}),
        Admin::Ready => {
            let readiness = server.readiness();
            let json = match &readiness {
                Ok(()) => json!({"ready": true}),
                Err(why) => json!({"ready": false, "error": why}),
            };
            return Ok(ready(readiness.is_ok(), &json));
        }
        Admin::Server => to_json("ServerMetadataResponse", &admin::metadata::server(server))?,
        Admin::V1Live => json!({"status": "alive"}),
        Admin::V1Models => json!({"models": serving_names(server)}),
        Admin::V1Model(Target { model, version }) => {
            server.engine().lookup(&model, version)?;
            let is_ready = server.is_model_ready(&model, version);
            return Ok(ready(is_ready, &json!({"name": model, "ready": is_ready})));
        }
        Admin::Model(Target { model, version }) => {
            let metadata = admin::metadata::model(server, &model, version)?;
            to_json("ModelMetadataResponse", &metadata)?
        }
        Admin::ModelReady(Target { model, version }) => {
            let is_ready = server.is_model_ready(&model, version);
            return Ok(ready(is_ready, &json!({"name": model, "ready": is_ready})));
        }
        Admin::ModelConfig(Target { model, version }) => {
            to_json("ModelConfig", &admin::config::model(server, &model, version)?)?
        }
        Admin::Statistics(Target { model, version }) => {
            let statistics = admin::statistics::models(server, &model, version)?;
            to_json("ModelStatisticsResponse", &statistics)?
        }
        // It may read the folders of models.
        Admin::Index => offload(true, || index(server, body))?,
        Admin::Load { model } => {
            let is_large = body.len() >= OFFLOAD_BYTES;
            let parameters = offload(is_large, || load_parameters(body))?;
            admin::repository::load(server, &model, parameters).await?;
            return Ok(empty());
        }
        Admin::Unload { model } => {
            admin::repository::unload(server, &model, load_parameters(body)?).await?;
            return Ok(empty());
        }
        Admin::Trace { model } => trace(server, method, model, body)?,
        Admin::Log => match *method {
            Method::GET => server.log().get(),
            _ => server.log().set(&object(body)?)?,
        },
        Admin::SharedMemory { region, action } => {
            return shared_memory(server, &region.unwrap_or_default(), action, body);
        }
        Admin::CudaSharedMemory(action) => match action {
            RegionAction::Status => json!([]),
            RegionAction::Register => return Err(admin::shared_memory::no_cuda()),
            RegionAction::Unregister => return Ok(empty()),
        },
    };
    Ok(json_response(StatusCode::OK, &json))
}

fn shared_memory(
    server: &Server,
    region: &str,
    action: RegionAction,
    body: &Payload,
) -> Result<Response<ChunkedBody>, Error> {
    use admin::shared_memory::{register, register_request, status, unregister};
    match action {
        RegionAction::Status => {
            let status = to_json("SystemSharedMemoryStatusResponse", &status(server, region)?)?;
            // A list over HTTP, in the order of names.
            let regions = status["regions"].as_object();
            let regions: Vec<&Value> = regions.into_iter().flat_map(|all| all.values()).collect();
            Ok(json_response(StatusCode::OK, &json!(regions)))
        }
        RegionAction::Register => {
            register(server, register_request(region.to_owned(), &object(body)?)?)?;
            Ok(empty())
        }
        RegionAction::Unregister => {
            unregister(server, region);
            Ok(empty())
        }
    }
}

fn empty() -> Response<ChunkedBody> {
    Response::new(ChunkedBody::new(SmallVec::new()))
}

/// The body as a JSON object; an empty one is an empty object.
fn object(body: &Payload) -> Result<Map<String, Value>, Error> {
    decode::value::object(&body.contiguous())
}

/// Names of all models that serve.
fn serving_names(server: &Server) -> BTreeSet<String> {
    let serving = server.engine().repository().serving();
    serving.iter().map(|endpoint| endpoint.name().to_string()).collect()
}

/// A value for a message, cut if it is long.
fn shown(value: &Value) -> String {
    const CHARS_MAX: usize = 40;
    let text = value.to_string();
    match text.char_indices().nth(CHARS_MAX) {
        None => text,
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}

fn index(server: &Server, body: &Payload) -> Result<Value, Error> {
    let ready_only = match object(body)?.remove("ready") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(ready)) => ready,
        Some(other) => {
            let other = shown(&other);
            return Err(Error::malformed(format!("'ready' must be true or false, not {other}")));
        }
    };
    let index = admin::repository::index(server, ready_only);
    Ok(to_json("RepositoryIndexResponse", &index)?["models"].take())
}

fn load_parameters(body: &Payload) -> Result<HashMap<String, ModelRepositoryParameter>, Error> {
    let mut object = object(body)?;
    let parameters = match object.remove("parameters") {
        None | Some(Value::Null) => return Ok(HashMap::new()),
        Some(Value::Object(parameters)) => parameters,
        Some(other) => {
            let other = shown(&other);
            return Err(Error::malformed(format!("'parameters' must be an object, not {other}")));
        }
    };
    let given = parameters.into_iter().filter(|(_, value)| !value.is_null());
    let each = |(name, value): (String, Value)| {
        let parameter_choice = Some(load_parameter(&name, value)?);
        Ok((name, ModelRepositoryParameter { parameter_choice }))
    };
    given.map(each).collect()
}

/// A parameter's value as the message has it. The bytes of a file come as base64.
fn load_parameter(name: &str, value: Value) -> Result<ParameterChoice, Error> {
    let wrong = |wanted: &str| {
        let name = name.escape_debug();
        Error::malformed(format!("parameter '{name}' must be {wanted}"))
    };
    Ok(match value {
        Value::Bool(value) => ParameterChoice::BoolParam(value),
        Value::String(text) if name.starts_with(parameter::FILE) => {
            let bytes = BASE64_STANDARD.decode(text);
            ParameterChoice::BytesParam(bytes.map_err(|_| wrong("a file in base64"))?)
        }
        Value::String(value) => ParameterChoice::StringParam(value),
        Value::Number(value) => match value.as_i64() {
            Some(value) => ParameterChoice::Int64Param(value),
            None => return Err(wrong("a whole number of 64 bits, if it is a number")),
        },
        other => {
            let other = shown(&other);
            return Err(wrong(&format!("a text, a number, true or false, not {other}")));
        }
    })
}

fn trace(
    server: &Server,
    method: &Method,
    model: Option<String>,
    body: &Payload,
) -> Result<Value, Error> {
    if let Some(model) = &model {
        server.engine().lookup(model, None)?;
    }
    let model = model.unwrap_or_default();
    let settings = match *method {
        Method::GET => server.trace().get(&model),
        _ => server.trace().set(&model, &trace_changes(object(body)?)?)?,
    };
    // Levels are a list. Every other setting is one value.
    let image = |(name, mut values): (String, Vec<String>)| match name.as_str() {
        "trace_level" => (name, json!(values)),
        _ => (name, json!(values.pop().unwrap_or_default())),
    };
    Ok(Value::Object(settings.into_iter().map(image).collect()))
}

fn trace_changes(object: Map<String, Value>) -> Result<admin::trace::Settings, Error> {
    let text = |value: Value| match value {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(Error::malformed(format!("a trace setting can not be {other}"))),
    };
    let values = |value: Value| match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(values) => values.into_iter().map(text).collect(),
        value => Ok(vec![text(value)?]),
    };
    object.into_iter().map(|(name, value)| Ok((name, values(value)?))).collect()
}

fn ready(is_ready: bool, json: &Value) -> Response<ChunkedBody> {
    match is_ready {
        true => json_response(StatusCode::OK, json),
        false => json_response(StatusCode::SERVICE_UNAVAILABLE, json),
    }
}
