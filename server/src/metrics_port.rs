//! The metrics' port: metrics, the slowest requests, and the dashboard.

use crate::config::Threads;
use crate::http::{error_response, json_response};
use crate::observe::{debug, metrics};
use crate::server::Server;
use crate::status::Error;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
#[cfg(feature = "dashboard")]
use skysail_dashboard::Dashboard;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::watch;

/// A body of this port: whole, or a stream of events.
type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The services of the port.
pub(crate) struct MetricsPort {
    server: Arc<Server>,
    #[cfg(feature = "dashboard")]
    dashboard: Arc<Dashboard>,
}

impl MetricsPort {
    #[cfg_attr(not(feature = "dashboard"), expect(unused_variables, reason = "the dashboard's"))]
    pub(crate) fn start(
        server: &Arc<Server>,
        threads: &Threads,
        stop: &watch::Receiver<bool>,
    ) -> Self {
        Self {
            server: Arc::clone(server),
            #[cfg(feature = "dashboard")]
            dashboard: {
                let source: Arc<Server> = Arc::clone(server);
                Dashboard::start(source, (threads.io, threads.compute), stop.clone())
            },
        }
    }

    /// Answers one request.
    pub(crate) fn serve(&self, request: &Request<Incoming>) -> Response<Body> {
        let response = match request.uri().path() {
            "/metrics" => self.metrics(request),
            debug::SLOWEST => self.slowest(request),
            path => self.dashboard(path, request.method()),
        };
        response.unwrap_or_else(|error| Self::refuse(&error))
    }

    /// The response to an error.
    pub(crate) fn refuse(error: &Error) -> Response<Body> {
        error_response(error).map(BodyExt::boxed_unsync)
    }

    fn metrics(&self, request: &Request<Incoming>) -> Result<Response<Body>, Error> {
        only_get(request)?;
        let (page, headers) = aside(|| metrics::page(&self.server, request.headers()));
        let mut response = Response::new(Full::new(page.into()).boxed_unsync());
        *response.headers_mut() = headers;
        Ok(response)
    }

    fn slowest(&self, request: &Request<Incoming>) -> Result<Response<Body>, Error> {
        only_get(request)?;
        let json = aside(|| debug::slowest(&self.server, request.uri().query()))?;
        Ok(json_response(StatusCode::OK, &json).map(BodyExt::boxed_unsync))
    }

    #[cfg(feature = "dashboard")]
    fn dashboard(&self, path: &str, method: &Method) -> Result<Response<Body>, Error> {
        use skysail_dashboard::{Error as DashboardError, Route};
        let route = Route::at(path).ok_or_else(|| no_such_path(path, method))?;
        Ok(self.dashboard.respond(route, method).unwrap_or_else(|error| {
            let error = match error {
                DashboardError::WrongMethod(methods) => Error::WrongMethod(methods),
                DashboardError::TooManyViewers { limit } => {
                    Error::Busy { what: format!("{limit} viewers of the dashboard") }
                }
            };
            let mut response = error_response(&error).map(BodyExt::boxed_unsync);
            skysail_dashboard::add_security_headers(response.headers_mut());
            response
        }))
    }

    #[cfg(not(feature = "dashboard"))]
    #[expect(clippy::unused_self, reason = "there is no dashboard in this build")]
    fn dashboard(&self, path: &str, method: &Method) -> Result<Response<Body>, Error> {
        Err(no_such_path(path, method))
    }
}

fn only_get(request: &Request<Incoming>) -> Result<(), Error> {
    if *request.method() == Method::GET { Ok(()) } else { Err(Error::WrongMethod("GET")) }
}

fn no_such_path(path: &str, method: &Method) -> Error {
    match *method {
        Method::GET => {
            Error::no_such_path(path, "this port has GET /metrics, and GET / for the dashboard")
        }
        _ => Error::WrongMethod("GET"),
    }
}

/// Runs work of milliseconds without blocking the other connections of this thread.
fn aside<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}

#[cfg(feature = "dashboard")]
impl skysail_dashboard::Source for Server {
    fn engine(&self) -> &skysail_engine::Engine {
        self.engine()
    }

    fn is_ready(&self) -> bool {
        self.is_ready()
    }

    fn resident_bytes(&self) -> u64 {
        crate::observe::process_memory::resident_bytes().unwrap_or_default()
    }
}
