//! A minimal collector of traces: OTLP over gRPC, kept in memory.

use crate::support::wait_for;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tonic::{Request, Response, Status};

/// A collector that accepts everything until the test ends.
pub(crate) struct Collector {
    address: SocketAddr,
    received: Received,
    runtime: Option<Runtime>,
}

/// Received resources and spans.
#[derive(Clone, Default)]
struct Received(Arc<Mutex<(Vec<KeyValue>, Vec<Span>)>>);

#[tonic::async_trait]
impl TraceService for Received {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut received = self.0.lock();
        for of_resource in request.into_inner().resource_spans {
            received.0 =
                of_resource.resource.map(|resource| resource.attributes).unwrap_or_default();
            received.1.extend(of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Starts a collector on a free port.
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let received = Received::default();
        runtime.spawn(serve(listener, TraceServiceServer::new(received.clone())));
        Self { address, received, runtime: Some(runtime) }
    }

    /// URL of the collector.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Received spans.
    pub(crate) fn spans(&self) -> Vec<Span> {
        self.received.0.lock().1.clone()
    }

    /// An attribute of the last resource.
    pub(crate) fn resource(&self, name: &str) -> Option<String> {
        attribute(&self.received.0.lock().0, name)
    }

    /// Waits for `count` spans of a name, and returns them.
    pub(crate) fn wait_for(&self, name: &str, count: usize) -> Vec<Span> {
        wait_for(&format!("{count} spans {name}"), || {
            let mut spans = self.spans();
            spans.retain(|span| span.name == name);
            (spans.len() >= count).then_some(spans)
        })
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        // A test with its own runtime must not block on another.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve(listener: std::net::TcpListener, service: TraceServiceServer<Received>) {
    let listener = TcpListener::from_std(listener).unwrap();
    while let Ok((stream, _)) = listener.accept().await {
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            let builder = Builder::new(TokioExecutor::new());
            builder.serve_connection(TokioIo::new(stream), service).await
        });
    }
}

/// An attribute as text.
pub(crate) fn attribute(attributes: &[KeyValue], name: &str) -> Option<String> {
    let value = attributes.iter().find(|pair| pair.key == name)?.value.clone()?.value?;
    Some(match value {
        Value::StringValue(text) => text,
        Value::BoolValue(value) => value.to_string(),
        Value::IntValue(value) => value.to_string(),
        Value::DoubleValue(value) => value.to_string(),
        other => format!("{other:?}"),
    })
}

/// Formats the bytes of an id as in a header.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
