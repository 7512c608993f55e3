//! The server from its settings to its end.

use crate::accept::{bind, serve};
use crate::admin::settings::LogSettings;
use crate::admin::trace::Trace;
use crate::config::{Config, Threads};
use crate::dashboard::{self, Dashboard};
use crate::grpc::services;
use crate::io_threads::IoHandles;
use crate::server::Server;
use crate::{http, request_log, spans};
use anyhow::Result;
use skysail_engine::Engine;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tonic_health::server::{HealthReporter, health_reporter};

/// How often readiness is looked at for `grpc.health.v1`.
const HEALTH_POLL: Duration = Duration::from_millis(100);

/// After so many of these looks, the log may have something to add.
const SUMMARY_LOOKS: u64 = 10;

/// Binds, loads, serves, and returns when `stop` says so and all requests are answered.
///
/// # Errors
/// When something is missing that the server can not do without.
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
    let engine = Engine::start(config.engine())?;
    let limits = config.limits.clone();
    let (tracing, exporter) = spans::start(&config.tracing)?;
    let server = Server::new(engine, limits.clone(), log)
        .with_trace(trace)
        .with_tracing(tracing)
        .with_request_records(config.telemetry.request_records);
    let server = Arc::new(server);
    tracing::info!(
        "skysail-server {} serves {}: HTTP on {}, gRPC on {}, metrics on {}",
        env!("CARGO_PKG_VERSION"),
        config.repository.models.display(),
        http.local_addr()?,
        grpc.local_addr()?,
        metrics.local_addr()?,
    );
    let (reporter, health) = health_reporter();
    let watcher = tokio::spawn(report_health(Arc::clone(&server), reporter, stop.clone()));
    let of = |server: &Arc<Server>| Arc::clone(server);
    let (for_http, for_metrics) = (of(&server), of(&server));
    let Threads { io, compute } = config.threads;
    let dashboard = Dashboard::start(of(&server), io, compute, stop.clone());
    let for_grpc = services(of(&server), health)?;
    tokio::join!(
        serve(http, limits.clone(), threads.clone(), stop.clone(), move |request| {
            http::serve(Arc::clone(&for_http), request)
        }),
        serve(grpc, limits.clone(), threads.clone(), stop.clone(), move |request| for_grpc(
            request
        )),
        serve(metrics, limits, threads, stop, move |request| {
            dashboard::serve(Arc::clone(&dashboard), Arc::clone(&for_metrics), request)
        }),
    );
    watcher.abort();
    exporter.stop().await;
    tracing::info!("stopped");
    Ok(())
}

/// Keeps the standard health service in step with the server's readiness.
async fn report_health(
    server: Arc<Server>,
    reporter: HealthReporter,
    mut stop: watch::Receiver<bool>,
) {
    use tonic_health::ServingStatus::{NotServing, Serving};
    let mut reported = None;
    for look in 0_u64.. {
        if look.is_multiple_of(SUMMARY_LOOKS) {
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
