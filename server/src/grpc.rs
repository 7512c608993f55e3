//! gRPC: the protocol's service over the same functions as HTTP.

use crate::admin;
use crate::body::Held;
use crate::decode;
use crate::http::{OFFLOAD_BYTES, offload};
use crate::journeys::failed_early;
use crate::predict::{Call, Prediction, predict};
use crate::respond;
use crate::server::Server;
use crate::spans::{Context, tell};
use crate::status::Error;
use futures_util::StreamExt;
use serde_json::Value;
use skysail_protocol::grpc::grpc_inference_service_server::GrpcInferenceService;
use skysail_protocol::grpc::*;
use std::collections::HashMap;
use std::sync::Arc;
use tonic::{Request, Response, Status, Streaming};

mod answered;
mod deadline;
mod metered;
mod own_task;
mod received;
mod services;

use answered::Answered;
use deadline::{Answers, Arrival};
use own_task::OwnTask;
use received::{Received, typed_bytes};
pub(crate) use services::services;

/// Requests of one stream that are in the server at once. Their responses keep their order.
const STREAM_REQUESTS_MAX: usize = 64;

/// The metadata that asks a stream for errors as statuses.
const STATUS_ERRORS: &str = "triton_grpc_error";

/// The protocol's service.
#[derive(Clone)]
pub(crate) struct Service {
    server: Arc<Server>,
}

type Reply<T> = Result<Response<T>, Status>;

impl Service {
    pub(crate) fn new(server: Arc<Server>) -> Self {
        Self { server }
    }
}

/// A version in a message: empty for the server's choice.
fn version(text: &str) -> Result<Option<u64>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|_| Error::malformed(format!("version '{}' is no number", text.escape_debug())))
}

/// When the call of a request came.
fn arrival<T>(request: &Request<T>) -> Arrival {
    request.extensions().get().copied().unwrap_or_else(Arrival::unlimited)
}

async fn infer(
    server: &Arc<Server>,
    received: Received,
    arrival: Arrival,
    trace: Option<&Context>,
) -> Result<Answered, Error> {
    let Received { message, held, refused } = received;
    let Arrival { accepted, limit, request_id } = arrival;
    let name = message.model_name.clone();
    let version = version(&message.model_version)?;
    let call = Call::new(server, &name, version, accepted);
    let call = Call { limit, request_id, trace, ..call };
    if let Some(error) = refused {
        failed_early(server, &call, &error);
        return Err(error);
    }
    let typed = message.inputs.iter().filter_map(|input| input.contents.as_ref());
    let is_large = typed.map(typed_bytes).sum::<usize>() >= OFFLOAD_BYTES;
    let decode = |_: &_| offload(is_large, || decode::grpc::decode(message));
    let respond = |prediction: Prediction| {
        let Prediction { response, decoded } = prediction;
        Ok(Answered::new(respond::grpc::respond(response, decoded), held))
    };
    predict(server, &call, decode, respond).await
}

/// What all requests of a stream share.
struct Shared {
    server: Arc<Server>,
    /// Whether it asked for errors as statuses.
    status_errors: bool,
    /// What its headers make of its requests' spans.
    trace: Option<Context>,
}

/// One answer of a stream, counted until it is taken: an error is a message, unless the stream
/// asked for a status.
async fn infer_in_stream(
    stream: Arc<Shared>,
    request: Result<Received, Status>,
) -> Result<(ModelStreamInferResponse, Option<Held>), Status> {
    let (request, server) = (request?, &stream.server);
    let id = request.message.id.clone();
    let trace = server.tracing().begin_in_stream(stream.trace.as_ref());
    let (infer_response, error_message, held) =
        match infer(server, request, Arrival::unlimited(), trace.as_ref()).await {
            Ok(Answered { message, held, .. }) => (message, String::new(), Some(held)),
            Err(error) if stream.status_errors => return Err(error.into()),
            Err(error) => {
                (ModelInferResponse { id, ..Default::default() }, error.to_string(), None)
            }
        };
    let infer_response = Some(infer_response);
    Ok((ModelStreamInferResponse { error_message, infer_response }, held))
}

#[tonic::async_trait]
impl GrpcInferenceService for Service {
    type ModelStreamInferStream = Answers<ModelStreamInferResponse>;

    async fn server_live(&self, _: Request<ServerLiveRequest>) -> Reply<ServerLiveResponse> {
        Ok(Response::new(ServerLiveResponse { live: true }))
    }

    async fn server_ready(&self, _: Request<ServerReadyRequest>) -> Reply<ServerReadyResponse> {
        Ok(Response::new(ServerReadyResponse { ready: self.server.is_ready() }))
    }

    async fn model_ready(&self, request: Request<ModelReadyRequest>) -> Reply<ModelReadyResponse> {
        let request = request.into_inner();
        let version = version(&request.version)?;
        let ready = self.server.is_model_ready(&request.name, version);
        Ok(Response::new(ModelReadyResponse { ready }))
    }

    async fn server_metadata(
        &self,
        _: Request<ServerMetadataRequest>,
    ) -> Reply<ServerMetadataResponse> {
        Ok(Response::new(admin::metadata::server()))
    }

    async fn model_metadata(
        &self,
        request: Request<ModelMetadataRequest>,
    ) -> Reply<ModelMetadataResponse> {
        let request = request.into_inner();
        let version = version(&request.version)?;
        Ok(Response::new(admin::metadata::model(&self.server, &request.name, version)?))
    }

    async fn model_config(
        &self,
        request: Request<ModelConfigRequest>,
    ) -> Reply<ModelConfigResponse> {
        let request = request.into_inner();
        let config = admin::config::model(&self.server, &request.name, version(&request.version)?)?;
        Ok(Response::new(ModelConfigResponse { config: Some(config) }))
    }

    async fn model_statistics(
        &self,
        request: Request<ModelStatisticsRequest>,
    ) -> Reply<ModelStatisticsResponse> {
        let request = request.into_inner();
        let version = version(&request.version)?;
        Ok(Response::new(admin::statistics::models(&self.server, &request.name, version)?))
    }

    async fn model_infer(&self, request: Request<ModelInferRequest>) -> Reply<ModelInferResponse> {
        let arrival = arrival(&request);
        let trace = self.server.tracing().begin(request.metadata().as_ref());
        let trace = trace.as_ref();
        let received = Received::new(&self.server, request.into_inner());
        match infer(&self.server, received, arrival, trace).await {
            Ok(answered) => {
                let mut response = answered.into_response();
                tell(trace, response.metadata_mut().as_mut());
                Ok(response)
            }
            Err(error) => {
                let mut status = Status::from(error);
                tell(trace, status.metadata_mut().as_mut());
                Err(status)
            }
        }
    }

    async fn model_stream_infer(
        &self,
        request: Request<Streaming<ModelInferRequest>>,
    ) -> Reply<Self::ModelStreamInferStream> {
        let status_errors = request.metadata().get(STATUS_ERRORS).is_some_and(|v| v == "true");
        let server = Arc::clone(&self.server);
        let trace = server.tracing().begin(request.metadata().as_ref());
        let arrival = arrival(&request);
        let shared = Arc::new(Shared { server, status_errors, trace });
        let answers = request
            .into_inner()
            .map(move |request| {
                let received = request.map(|message| Received::new(&shared.server, message));
                OwnTask::start(infer_in_stream(Arc::clone(&shared), received))
            })
            .buffered(STREAM_REQUESTS_MAX)
            .map(|answer| answer.map(|(message, _held)| message));
        Ok(Response::new(arrival.bound(Box::pin(answers))))
    }

    async fn repository_index(
        &self,
        request: Request<RepositoryIndexRequest>,
    ) -> Reply<RepositoryIndexResponse> {
        let ready_only = request.into_inner().ready;
        Ok(Response::new(admin::repository::index(&self.server, ready_only)))
    }

    async fn repository_model_load(
        &self,
        request: Request<RepositoryModelLoadRequest>,
    ) -> Reply<RepositoryModelLoadResponse> {
        let request = request.into_inner();
        admin::repository::load(&self.server, &request.model_name, request.parameters).await?;
        Ok(Response::new(RepositoryModelLoadResponse {}))
    }

    async fn repository_model_unload(
        &self,
        request: Request<RepositoryModelUnloadRequest>,
    ) -> Reply<RepositoryModelUnloadResponse> {
        let request = request.into_inner();
        admin::repository::unload(&self.server, &request.model_name, request.parameters).await?;
        Ok(Response::new(RepositoryModelUnloadResponse {}))
    }

    async fn system_shared_memory_status(
        &self,
        _: Request<SystemSharedMemoryStatusRequest>,
    ) -> Reply<SystemSharedMemoryStatusResponse> {
        Ok(Response::new(SystemSharedMemoryStatusResponse::default()))
    }

    async fn system_shared_memory_register(
        &self,
        _: Request<SystemSharedMemoryRegisterRequest>,
    ) -> Reply<SystemSharedMemoryRegisterResponse> {
        Err(no_shared_memory())
    }

    async fn system_shared_memory_unregister(
        &self,
        _: Request<SystemSharedMemoryUnregisterRequest>,
    ) -> Reply<SystemSharedMemoryUnregisterResponse> {
        Ok(Response::new(SystemSharedMemoryUnregisterResponse {}))
    }

    async fn cuda_shared_memory_status(
        &self,
        _: Request<CudaSharedMemoryStatusRequest>,
    ) -> Reply<CudaSharedMemoryStatusResponse> {
        Ok(Response::new(CudaSharedMemoryStatusResponse::default()))
    }

    async fn cuda_shared_memory_register(
        &self,
        _: Request<CudaSharedMemoryRegisterRequest>,
    ) -> Reply<CudaSharedMemoryRegisterResponse> {
        Err(no_shared_memory())
    }

    async fn cuda_shared_memory_unregister(
        &self,
        _: Request<CudaSharedMemoryUnregisterRequest>,
    ) -> Reply<CudaSharedMemoryUnregisterResponse> {
        Ok(Response::new(CudaSharedMemoryUnregisterResponse {}))
    }

    async fn trace_setting(
        &self,
        request: Request<TraceSettingRequest>,
    ) -> Reply<TraceSettingResponse> {
        let request = request.into_inner();
        let model = request.model_name;
        if !model.is_empty() {
            self.server.engine().lookup(&model, None).map_err(Error::from)?;
        }
        let changes: admin::trace::Settings =
            request.settings.into_iter().map(|(name, setting)| (name, setting.value)).collect();
        let settings = match changes.is_empty() {
            true => self.server.trace().get(&model),
            false => self.server.trace().set(&model, &changes)?,
        };
        let image = |(name, value)| (name, trace_setting_response::SettingValue { value });
        Ok(Response::new(TraceSettingResponse {
            settings: settings.into_iter().map(image).collect(),
        }))
    }

    async fn log_settings(
        &self,
        request: Request<LogSettingsRequest>,
    ) -> Reply<LogSettingsResponse> {
        let changes = log_changes(request.into_inner().settings);
        let settings = match changes.is_empty() {
            true => self.server.log().get(),
            false => self.server.log().set(&changes)?,
        };
        Ok(Response::new(LogSettingsResponse { settings: log_image(settings) }))
    }
}

fn no_shared_memory() -> Status {
    Error::Unsupported("shared memory is not supported".into()).into()
}

fn log_changes(
    settings: HashMap<String, log_settings_request::SettingValue>,
) -> serde_json::Map<String, Value> {
    use log_settings_request::setting_value::ParameterChoice;
    let value = |setting: log_settings_request::SettingValue| match setting.parameter_choice {
        Some(ParameterChoice::BoolParam(value)) => Value::from(value),
        Some(ParameterChoice::Uint32Param(value)) => Value::from(value),
        Some(ParameterChoice::StringParam(value)) => Value::from(value),
        None => Value::Null,
    };
    settings.into_iter().map(|(name, setting)| (name, value(setting))).collect()
}

fn log_image(settings: Value) -> HashMap<String, log_settings_response::SettingValue> {
    use log_settings_response::setting_value::ParameterChoice;
    let choice = |value: Value| match value {
        Value::Bool(value) => Some(ParameterChoice::BoolParam(value)),
        Value::String(value) => Some(ParameterChoice::StringParam(value)),
        value => {
            let number = value.as_u64().and_then(|value| u32::try_from(value).ok());
            number.map(ParameterChoice::Uint32Param)
        }
    };
    let Value::Object(settings) = settings else { return HashMap::new() };
    settings
        .into_iter()
        .map(|(name, value)| {
            let parameter_choice = choice(value);
            (name, log_settings_response::SettingValue { parameter_choice })
        })
        .collect()
}
