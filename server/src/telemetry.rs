//! The log, and the port on which metrics are read.

use crate::admin::settings::LogSettings;
use crate::config::{Format, Level, Log};
use crate::http::{Pieces, refusal, respond_json};
use crate::server::Server;
use crate::status::Error;
use crate::{debug, metrics};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use smallvec::smallvec;
use std::io::IsTerminal;
use std::sync::Arc;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{fmt, reload};

/// Starts to log to standard error.
pub(crate) fn start_log(log: &Log) -> LogSettings {
    let level = match log.level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    let (filter, handle) = reload::Layer::new(level);
    let registry = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    // It fails only when a log was started before, which goes on.
    match log.format {
        Format::Text => drop(registry.with(lines).try_init()),
        Format::Json => drop(registry.with(lines.json()).try_init()),
    }
    LogSettings::new(handle)
}

/// Answers a request on the metrics' port.
pub(crate) async fn serve(server: Arc<Server>, request: Request<Incoming>) -> Response<Pieces> {
    if *request.method() != Method::GET {
        return refusal(&Error::WrongMethod("GET"));
    }
    match request.uri().path() {
        "/metrics" => {}
        debug::TAIL => {
            let tail = aside(|| debug::tail(&server, request.uri().query()));
            return tail.map_or_else(|e| refusal(&e), |tail| respond_json(StatusCode::OK, &tail));
        }
        path => return refusal(&Error::NoSuchPath(path.escape_debug().to_string())),
    }
    let (page, headers) = aside(|| metrics::page(&server, request.headers()));
    let mut response = Response::new(Pieces::new(smallvec![page.into()]));
    *response.headers_mut() = headers;
    response
}

/// Runs what takes milliseconds where it does not hold up the connections of this thread.
fn aside<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}
