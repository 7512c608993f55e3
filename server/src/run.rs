//! Runs the server, from its settings to its end.

use crate::accept::{IoHandles, bind, serve};
use crate::admin::log_settings::LogSettings;
use crate::admin::trace::Trace;
use crate::config::Config;
use crate::grpc::services;
use crate::http;
use crate::metrics_port::MetricsPort;
use crate::observe::{request_log, tracing as traces};
use crate::server::Server;
use anyhow::Result;
use skysail_engine::Engine;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tonic_health::server::{HealthReporter, health_reporter};

/// Period at which readiness is reported to `grpc.health.v1`.
const HEALTH_POLL: Duration = Duration::from_millis(100);

/// Polls between two summaries in the log.
const SUMMARY_POLLS: u64 = 10;

/// Binds, loads and serves, until `stop` changes and all requests are finished.
///
/// # Errors
/// When the server can not start.
pub(crate) async fn run(
    config: Config,
    log: LogSettings,
    threads: IoHandles,
    stop: watch::Receiver<bool>,
) -> Result<()> {
    let trace = Trace::with_file(config.tracing.file.as_deref())?;
    let http = bind(config.listen.http, "http")?;
    let grpc = bind(config.listen.grpc, "grpc")?;
    let metrics = bind(config.listen.metrics, "metrics")?;
    let engine_config = config.engine();
    let engine = Engine::start(engine_config.clone())?;
    let limits = config.limits.clone();
    let (tracing, exporter) = traces::start(&config.tracing)?;
    let server = Server::new(engine, limits.clone(), log)
        .with_trace(trace)
        .with_tracing(tracing)
        .with_request_records(config.telemetry.request_records);
    let server = Arc::new(server);
    tracing::info!(
        "skysail-server {} serves {}: HTTP on {}, gRPC on {}, metrics on {}",
        env!("CARGO_PKG_VERSION"),
        engine_config.models,
        http.local_addr()?,
        grpc.local_addr()?,
        metrics.local_addr()?,
    );
    let (reporter, health) = health_reporter();
    let watcher = tokio::spawn(report_health(Arc::clone(&server), reporter, stop.clone()));
    let metrics_port = Arc::new(MetricsPort::start(&server, &config.threads, &stop));
    let grpc_services = services(Arc::clone(&server), health)?;
    tokio::join!(
        serve(http, limits.clone(), threads.clone(), stop.clone(), move |thread, request| {
            http::serve(Arc::clone(&server), thread, request)
        }),
        serve(grpc, limits.clone(), threads.clone(), stop.clone(), move |thread, request| {
            grpc_services(thread, request)
        }),
        serve(metrics, limits, threads, stop, move |_, request| {
            let port = Arc::clone(&metrics_port);
            async move { port.serve(&request) }
        }),
    );
    watcher.abort();
    exporter.stop().await;
    tracing::info!("stopped");
    Ok(())
}

/// Reports the server's readiness to the standard health service.
async fn report_health(
    server: Arc<Server>,
    reporter: HealthReporter,
    mut stop: watch::Receiver<bool>,
) {
    use tonic_health::ServingStatus::{NotServing, Serving};
    let mut reported = None;
    for poll in 0_u64.. {
        if poll.is_multiple_of(SUMMARY_POLLS) {
            request_log::summaries(&server);
        }
        let status = if server.is_ready() { Serving } else { NotServing };
        if reported != Some(status) {
            reporter.set_service_status("", status).await;
            reporter.set_service_status("inference.GRPCInferenceService", status).await;
            reported = Some(status);
        }
        tokio::select! {
            () = tokio::time::sleep(HEALTH_POLL) => {}
            _ = stop.changed() => server.begin_to_stop(),
        }
    }
}
