//! The dashboard: one page on the metrics' port that says how the models do, and keeps saying it.
//!
//! ```text
//! sample.rs    the counters of a version, once a second
//! history.rs   those of the last five minutes; figures are differences
//! look.rs      what is shown of it, and of the repository and the slow requests
//! parts/       as HTML, each part by its id; chart.rs draws
//! frame.rs     all parts at one moment, and what of them changed
//! live.rs      when that happens, and for whom
//! page.rs      the page around the parts
//! ```
//!
//! Whatever a request or a repository brings is text: the macro `html!` escapes it, and a browser
//! takes scripts and styles from their own addresses only.

mod chart;
mod frame;
mod history;
mod live;
mod look;
mod page;
mod parts;
mod sample;
mod words;

use crate::http::refusal;
use crate::server::Server;
use crate::status::Error;
use crate::telemetry;
use bytes::Bytes;
use futures_util::stream;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use std::convert::Infallible;
use std::sync::Arc;

pub(crate) use live::Dashboard;

/// What a browser may do with the page: nothing but what is listed.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The files beside the page, by path, type and text.
const FILES: [(&str, &str, &str); 3] = [
    ("/dashboard/style.css", "text/css; charset=utf-8", include_str!("dashboard/style.css")),
    ("/dashboard/script.js", "text/javascript; charset=utf-8", include_str!("dashboard/script.js")),
    ("/dashboard/icon.svg", "image/svg+xml", include_str!("dashboard/icon.svg")),
];

/// A body of the metrics' port: whole, or events without end.
type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What a path of the dashboard leads to.
#[derive(Clone, Copy)]
enum Asked {
    Page,
    Events,
    File(&'static str, &'static str),
}

/// Answers a request on the metrics' port: the dashboard's paths here, all others there.
pub(crate) async fn serve(
    dashboard: Arc<Dashboard>,
    server: Arc<Server>,
    request: Request<Incoming>,
) -> Response<Body> {
    let Some(asked) = Asked::at(request.uri().path()) else {
        return telemetry::serve(server, request).await.map(BodyExt::boxed_unsync);
    };
    let answer = answer(&dashboard, asked, request.method());
    let mut response = answer.unwrap_or_else(|error| refusal(&error).map(BodyExt::boxed_unsync));
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

impl Asked {
    fn at(path: &str) -> Option<Self> {
        match path {
            "/" => Some(Self::Page),
            "/dashboard/events" => Some(Self::Events),
            _ => {
                let file = FILES.into_iter().find(|(known, ..)| *known == path);
                file.map(|(_, kind, text)| Self::File(kind, text))
            }
        }
    }
}

fn answer(dashboard: &Dashboard, asked: Asked, method: &Method) -> Result<Response<Body>, Error> {
    let reads = [Method::GET, Method::HEAD].contains(method);
    match asked {
        Asked::Events if *method == Method::GET => events(dashboard),
        Asked::Events => Err(Error::WrongMethod("GET")),
        _ if !reads => Err(Error::WrongMethod("GET, HEAD")),
        Asked::Page => {
            // It takes milliseconds, and other connections of this thread need not wait.
            let frame = tokio::task::block_in_place(|| dashboard.frame());
            Ok(whole("text/html; charset=utf-8", page::page(&frame).into_string()))
        }
        Asked::File(kind, text) => Ok(whole(kind, text)),
    }
}

fn whole(kind: &'static str, text: impl Into<Bytes>) -> Response<Body> {
    of_type(kind, Full::new(text.into()).boxed_unsync())
}

/// A stream of what changes, for as long as it is read.
fn events(dashboard: &Dashboard) -> Result<Response<Body>, Error> {
    let watcher = dashboard.watch()?;
    let frames = stream::unfold(watcher, |mut watcher| async move {
        let events = watcher.next().await?;
        Some((Ok(Frame::data(events)), watcher))
    });
    Ok(of_type("text/event-stream", StreamBody::new(frames).boxed_unsync()))
}

fn of_type(kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
