//! The server's command line: flags become settings, settings become a running server.

mod config;
mod run;
mod server;
mod io_threads;
mod lag;
mod accept;
mod http;
mod grpc;
mod body;
mod decode;
mod in_flight;
mod predict;
mod journeys;
mod request_log;
mod debug;
mod respond;
mod status;
mod admin;
mod telemetry;
mod metrics;
mod dashboard;
mod spans;
mod memory;

use admin::settings::LogSettings;
use clap::Parser;
use config::{Config, Flags};
use io_threads::IoThreads;
use skysail_engine::probe::probe_child;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Exit code of a configuration that can not be used.
const BAD_CONFIGURATION: u8 = 64;

/// Makes the program the child of a server in which models are tried, if it is the first argument.
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
    let log = telemetry::start_log(&config.log);
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

#[expect(clippy::print_stderr, reason = "says why the command failed, log or no log")]
fn fail(error: &anyhow::Error, code: u8) -> ExitCode {
    eprintln!("skysail-server: {error:#}");
    ExitCode::from(code)
}

/// Changes when the process is told to stop.
fn stop_signal() -> std::io::Result<watch::Receiver<bool>> {
    let (sender, receiver) = watch::channel(false);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("told to stop: no new connections, requests are finished");
        // Nobody listens any more when the server has failed.
        let _ = sender.send(true);
        sender.closed().await;
    });
    Ok(receiver)
}
