//! The server's command line.

mod config;
mod logging;
mod run;
mod server;
mod stores;
mod accept;
mod http;
mod grpc;
mod body;
mod memory_budget;
mod call;
mod decode;
mod in_flight;
mod predict;
mod classification;
mod shared_memory;
mod respond;
mod status;
mod admin;
mod observe;
mod metrics_port;

use accept::IoThreads;
use admin::log_settings::LogSettings;
use clap::Parser;
use config::{Config, Flags};
use skysail_engine::probe::probe_child;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Exit code of an invalid configuration.
const BAD_CONFIGURATION: u8 = 64;

/// First argument of the child processes in which a server tries models.
pub(crate) const PROBE_CHILD: &str = "probe-child";

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|first| first == PROBE_CHILD) {
        let arguments: Vec<String> =
            std::env::args_os().skip(2).map(|text| text.to_string_lossy().into()).collect();
        return match probe_child(&arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error.into(), 1),
        };
    }
    let config = match Config::new(Flags::parse()) {
        Ok(config) => config,
        Err(error) => return fail(&error, BAD_CONFIGURATION),
    };
    let log = logging::start(&config.log);
    match start(config, log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, 1),
    }
}

fn start(config: Config, log: LogSettings) -> anyhow::Result<()> {
    let threads = IoThreads::start(config.threads.io)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let stop = stop_signal()?;
        run::run(config, log, threads.handles(), stop).await
    })
}

#[expect(clippy::print_stderr, reason = "reports the failure even without a log")]
fn fail(error: &anyhow::Error, code: u8) -> ExitCode {
    eprintln!("skysail-server: {error:#}");
    ExitCode::from(code)
}

/// Changes when the process receives a signal to stop.
fn stop_signal() -> std::io::Result<watch::Receiver<bool>> {
    let (sender, receiver) = watch::channel(false);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("stopping: no new connections; requests in flight are finished");
        // Sending fails if the server has failed.
        let _ = sender.send(true);
        sender.closed().await;
    });
    Ok(receiver)
}
