//! The services of the gRPC port: inference, health and reflection, by the path's first part.

use super::Service;
use super::accounted_response::hold_until_sent;
use super::byte_accounting::AccountedBody;
use super::deadline::Arrival;
use crate::accept::IoThread;
use crate::server::Server;
use anyhow::{Context, Result};
use http::{Request, Response};
use hyper::body::Incoming;
use skysail_protocol::grpc::FILE_DESCRIPTOR_SET;
use skysail_protocol::grpc::grpc_inference_service_server::GrpcInferenceServiceServer;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use tonic::Status;
use tonic::body::Body;
use tonic::codec::CompressionEncoding::{Deflate, Gzip};
use tonic::codegen::Service as _;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_reflection::server::Builder;

/// The only method with a stream of requests.
const STREAM: &str = "ModelStreamInfer";

/// Methods whose messages have tensors.
const INFERENCE: [&str; 2] = ["ModelInfer", STREAM];

/// The method whose message may have the files of a model.
const LOAD: &str = "RepositoryModelLoad";

/// A future response.
type FutureResponse = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// Answers a request of the gRPC port.
type Services = Arc<dyn Fn(Arc<IoThread>, Request<Incoming>) -> FutureResponse + Send + Sync>;

/// All services together.
///
/// # Errors
/// When the compiled schema can not be read.
pub(crate) fn services<H: Health>(
    server: Arc<Server>,
    health: HealthServer<H>,
) -> Result<Services> {
    let (body_limits, load_limits) = (server.body_limits(), server.load_limits());
    let budget = Arc::clone(server.budget());
    let inference = GrpcInferenceServiceServer::new(Service::new(server))
        .max_decoding_message_size(body_limits.bytes_max)
        .max_encoding_message_size(usize::MAX)
        .accept_compressed(Gzip)
        .accept_compressed(Deflate)
        .send_compressed(Gzip)
        .send_compressed(Deflate);
    let load = inference.clone().max_decoding_message_size(load_limits.bytes_max);
    let admin = inference.clone().max_decoding_message_size(body_limits.for_admin().bytes_max);
    let reflection = || {
        Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let reflection_v1 = reflection().build_v1().context("gRPC reflection")?;
    let reflection_v1alpha = reflection().build_v1alpha().context("gRPC reflection")?;
    Ok(Arc::new(move |thread, request: Request<Incoming>| {
        let path = request.uri().path().trim_start_matches('/');
        let (service, method) = path.split_once('/').unwrap_or((path, ""));
        match service {
            "inference.GRPCInferenceService" => {
                let is_stream = method == STREAM;
                let (service, limits) = match method {
                    LOAD => (&load, load_limits),
                    _ if INFERENCE.contains(&method) => (&inference, body_limits),
                    _ => (&admin, body_limits),
                };
                let mut service = service.clone();
                let arrival = match Arrival::now(Arc::clone(&thread), request.headers()) {
                    Ok(arrival) => arrival,
                    Err(error) => return boxed(async { Ok(Status::from(error).into_http()) }),
                };
                let mut request = request
                    .map(|body| AccountedBody::new(body, limits, &budget, thread, is_stream));
                request.extensions_mut().insert(arrival);
                let response = service.call(request);
                boxed(async { response.await.map(hold_until_sent) })
            }
            "grpc.health.v1.Health" => boxed(health.clone().call(request)),
            "grpc.reflection.v1.ServerReflection" => boxed(reflection_v1.clone().call(request)),
            "grpc.reflection.v1alpha.ServerReflection" => {
                boxed(reflection_v1alpha.clone().call(request))
            }
            _ => boxed(async { Ok(Status::unimplemented("no such service").into_http()) }),
        }
    }))
}

fn boxed(
    future: impl Future<Output = Result<Response<Body>, Infallible>> + Send + 'static,
) -> FutureResponse {
    Box::pin(async move {
        match future.await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    })
}
