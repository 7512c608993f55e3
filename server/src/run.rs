//! Runs the server, from its settings to its end.

use crate::accept::{IoHandles, bind, serve};
use crate::admin::log_settings::LogSettings;
use crate::admin::trace::Trace;
use crate::config::{Config, Control};
use crate::grpc::services;
use crate::http::{self, Cors};
use crate::metrics_port::MetricsPort;
use crate::observe::{request_log, tracing as traces};
use crate::server::Server;
use crate::shared_memory::SharedMemory;
use crate::status::Error;
use crate::stores::Stores;
use anyhow::{Result, anyhow};
use skysail_engine::Engine;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::Status;
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
    let mut stores = Stores::new(&config);
    let engine_config = config.engine(config.repository.open_places(&mut stores)?);
    let engine = Engine::start(engine_config.clone())?;
    let limits = config.limits.clone();
    let (tracing, exporter) = traces::start(&config.tracing)?;
    let server = Server::new(engine, limits.clone(), log)
        .with_cors(Cors::new(&config.http.cors_origin)?)
        .with_non_finite(config.http.json_non_finite.unwrap_or_default())
        .with_trace(trace)
        .with_stores(stores)
        .with_tracing(tracing)
        .with_shared_memory(SharedMemory::new(&config.shared_memory.prefixes))
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
    let exits_on_failure = config.repository.exit_on_load_error
        && config.repository.model_control == Control::Explicit;
    let (ending, stop) = watch_end(Arc::clone(&server), stop, exits_on_failure);
    tokio::spawn(refuse_late(Arc::clone(&server), stop.clone()));
    let (reporter, health) = health_reporter();
    let watcher = tokio::spawn(report_health(Arc::clone(&server), reporter, stop.clone()));
    let metrics_port = Arc::new(MetricsPort::start(&server, &config.threads, &stop));
    let grpc_services = services(Arc::clone(&server), health)?;
    tokio::join!(
        serve(
            http,
            limits.clone(),
            threads.clone(),
            stop.clone(),
            move |thread, request| http::serve(Arc::clone(&server), thread, request),
            || http::error_response(&Error::Stopping),
        ),
        serve(
            grpc,
            limits.clone(),
            threads.clone(),
            stop.clone(),
            move |thread, request| grpc_services(thread, request),
            || Status::from(Error::Stopping).into_http(),
        ),
        serve(
            metrics,
            limits,
            threads,
            stop,
            move |_, request| {
                let port = Arc::clone(&metrics_port);
                async move { port.serve(&request) }
            },
            || MetricsPort::refuse(&Error::Stopping),
        ),
    );
    watcher.abort();
    exporter.stop().await;
    tracing::info!("stopped");
    ending.await?
}

/// Watches for the end: the signal to stop, or a failed start. Returns the result to end with, and
/// what changes at the end.
fn watch_end(
    server: Arc<Server>,
    mut stop: watch::Receiver<bool>,
    exits_on_failure: bool,
) -> (JoinHandle<Result<()>>, watch::Receiver<bool>) {
    let (end, ends) = watch::channel(false);
    let ending = tokio::spawn(async move {
        let result = tokio::select! {
            _ = stop.changed() => Ok(()),
            error = failed_start(&server), if exits_on_failure => Err(error),
        };
        server.begin_to_stop();
        // Sending fails if nothing is left to stop.
        let _ = end.send(true);
        tokio::spawn(async move { end.closed().await });
        result
    });
    (ending, ends)
}

/// Refuses the requests that still wait when the time to stop is over.
async fn refuse_late(server: Arc<Server>, mut stop: watch::Receiver<bool>) {
    // An error means the end, too.
    let _ = stop.changed().await;
    tokio::time::sleep(server.stop_timeout()).await;
    server.engine().repository().refuse_all();
}

/// Returns the failures of models that were named for the start. Without any it waits for ever.
async fn failed_start(server: &Server) -> anyhow::Error {
    let failures = server.engine().repository().start_failures().await;
    if failures.is_empty() {
        return std::future::pending().await;
    }
    let failures: Vec<String> = failures.iter().map(ToString::to_string).collect();
    anyhow!(
        "the start has failed, as --load-model names what can not be served: {}; with \
         --exit-on-load-error false the server starts without",
        failures.join("; ")
    )
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
        let readiness = server.readiness();
        if reported.as_ref() != Some(&readiness) {
            match &readiness {
                Ok(()) => tracing::info!("the server is ready"),
                Err(why) => tracing::info!("the server is not ready: {why}"),
            }
            let status = if readiness.is_ok() { Serving } else { NotServing };
            reporter.set_service_status("", status).await;
            reporter.set_service_status("inference.GRPCInferenceService", status).await;
            reported = Some(readiness);
        }
        tokio::select! {
            () = tokio::time::sleep(HEALTH_POLL) => {}
            _ = stop.changed() => {}
        }
    }
}
