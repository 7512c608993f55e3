//! gRPC: the protocol's service, over the same functions as HTTP.

use crate::accept::IoThread;
use crate::admin;
use crate::call::Call;
use crate::decode;
use crate::http::{OFFLOAD_BYTES, offload};
use crate::memory_budget::MemoryPermit;
use crate::observe::tracing::{Context, write_headers};
use crate::predict::{Prediction, failed_early, predict};
use crate::respond;
use crate::server::Server;
use crate::status::Error;
use abort_on_drop::AbortOnDrop;
use accounted_request::{AccountedRequest, typed_bytes};
use accounted_response::AccountedResponse;
use deadline::{Arrival, Responses};
use futures_util::StreamExt;
use prost::Message;
use serde_json::Value;
pub(crate) use services::services;
use skysail_protocol::grpc::grpc_inference_service_server::GrpcInferenceService;
use skysail_protocol::grpc::*;
use std::collections::HashMap;
use std::sync::Arc;
use tonic::{Request, Response, Status, Streaming};

mod abort_on_drop;
mod accounted_request;
mod accounted_response;
mod byte_accounting;
mod deadline;
mod services;

/// Requests in flight of one stream. Their responses keep their order.
const STREAM_REQUESTS_MAX: usize = 64;

/// Metadata that asks a stream for errors as statuses.
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

/// Parses the version in a message; empty for the server's choice.
fn version(text: &str) -> Result<Option<u64>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|_| Error::malformed(format!("version '{}' is no number", text.escape_debug())))
}

/// Takes the arrival that the port attached to the request.
fn arrival<T>(request: &mut Request<T>) -> Arrival {
    let arrival = request.extensions_mut().remove();
    arrival.unwrap_or_else(|| Arrival::unlimited(Arc::default()))
}

async fn infer(
    server: &Arc<Server>,
    request: AccountedRequest,
    arrival: Arrival,
    trace: Option<&Context>,
) -> Result<AccountedResponse, Error> {
    let AccountedRequest { message, permit, rejected } = request;
    let Arrival { thread, accepted, limit, request_id } = arrival;
    let name = message.model_name.clone();
    let version = version(&message.model_version);
    let version = version.inspect_err(|_| server.count_without_model())?;
    let call = Call::new(server, &thread, (&name, version), accepted);
    let call = Call { limit, request_id, trace, ..call };
    if let Some(error) = rejected {
        failed_early(server, &call, &error);
        return Err(error);
    }
    let typed = message.inputs.iter().filter_map(|input| input.contents.as_ref());
    let is_large = typed.map(typed_bytes).sum::<usize>() >= OFFLOAD_BYTES;
    let decode = |_: &_| offload(is_large, || decode::grpc::decode(message));
    let respond = |prediction: Prediction| {
        let Prediction { response, decoded } = prediction;
        Ok(AccountedResponse::new(respond::grpc::respond(response, decoded), permit))
    };
    predict(server, &call, decode, respond).await
}

/// State that all requests of a stream share.
struct Shared {
    server: Arc<Server>,
    thread: Arc<IoThread>,
    /// The stream asked for errors as statuses.
    status_errors: bool,
    /// Span of the stream's headers.
    trace: Option<Context>,
}

/// Serves one request of a stream; the response is accounted for until it is sent.
///
/// An error becomes a message, unless the stream asked for a status.
async fn infer_in_stream(
    stream: Arc<Shared>,
    request: Result<AccountedRequest, Status>,
) -> Result<(ModelStreamInferResponse, Option<MemoryPermit>), Status> {
    let (request, server) = (request?, &stream.server);
    let id = request.message.id.clone();
    let trace = server.tracing().begin_in_stream(stream.trace.as_ref());
    let arrival = Arrival::unlimited(Arc::clone(&stream.thread));
    let (infer_response, error_message, permit) =
        match infer(server, request, arrival, trace.as_ref()).await {
            Ok(AccountedResponse { message, permit, .. }) => (message, String::new(), Some(permit)),
            Err(error) if stream.status_errors => return Err(error.into()),
            Err(error) => (ModelInferResponse { id, ..Default::default() }, error.message(), None),
        };
    let infer_response = Some(infer_response);
    Ok((ModelStreamInferResponse { error_message, infer_response }, permit))
}

#[tonic::async_trait]
impl GrpcInferenceService for Service {
    type ModelStreamInferStream = Responses<ModelStreamInferResponse>;

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
        Ok(Response::new(admin::metadata::server(&self.server)))
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

    async fn model_infer(
        &self,
        mut request: Request<ModelInferRequest>,
    ) -> Reply<ModelInferResponse> {
        let arrival = arrival(&mut request);
        let trace = self.server.tracing().begin(request.metadata().as_ref());
        let trace = trace.as_ref();
        let request = AccountedRequest::new(&self.server, request.into_inner());
        match infer(&self.server, request, arrival, trace).await {
            Ok(response) => {
                let mut response = response.into_response();
                write_headers(trace, response.metadata_mut().as_mut());
                Ok(response)
            }
            Err(error) => {
                let mut status = Status::from(error);
                write_headers(trace, status.metadata_mut().as_mut());
                Err(status)
            }
        }
    }

    async fn model_stream_infer(
        &self,
        mut request: Request<Streaming<ModelInferRequest>>,
    ) -> Reply<Self::ModelStreamInferStream> {
        let status_errors = request.metadata().get(STATUS_ERRORS).is_some_and(|v| v == "true");
        let server = Arc::clone(&self.server);
        let trace = server.tracing().begin(request.metadata().as_ref());
        let arrival = arrival(&mut request);
        let thread = Arc::clone(&arrival.thread);
        let shared = Arc::new(Shared { server, thread, status_errors, trace });
        let responses = request
            .into_inner()
            .map(move |request| {
                let request = request.map(|message| AccountedRequest::new(&shared.server, message));
                AbortOnDrop::spawn(infer_in_stream(Arc::clone(&shared), request))
            })
            .buffered(STREAM_REQUESTS_MAX)
            .map(|response| response.map(|(message, _permit)| message));
        Ok(Response::new(arrival.bound(Box::pin(responses))))
    }

    async fn repository_index(
        &self,
        request: Request<RepositoryIndexRequest>,
    ) -> Reply<RepositoryIndexResponse> {
        let ready_only = request.into_inner().ready;
        // It may read the folders of models.
        let index = offload(true, || admin::repository::index(&self.server, ready_only));
        Ok(Response::new(index))
    }

    async fn repository_model_load(
        &self,
        request: Request<RepositoryModelLoadRequest>,
    ) -> Reply<RepositoryModelLoadResponse> {
        let request = request.into_inner();
        let mut permit = self.server.budget().permit();
        permit.add(request.encoded_len())?;
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
        request: Request<SystemSharedMemoryStatusRequest>,
    ) -> Reply<SystemSharedMemoryStatusResponse> {
        let name = request.into_inner().name;
        Ok(Response::new(admin::shared_memory::status(&self.server, &name)?))
    }

    async fn system_shared_memory_register(
        &self,
        request: Request<SystemSharedMemoryRegisterRequest>,
    ) -> Reply<SystemSharedMemoryRegisterResponse> {
        admin::shared_memory::register(&self.server, request.into_inner())?;
        Ok(Response::new(SystemSharedMemoryRegisterResponse {}))
    }

    async fn system_shared_memory_unregister(
        &self,
        request: Request<SystemSharedMemoryUnregisterRequest>,
    ) -> Reply<SystemSharedMemoryUnregisterResponse> {
        admin::shared_memory::unregister(&self.server, &request.into_inner().name);
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
        Err(admin::shared_memory::no_cuda().into())
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
