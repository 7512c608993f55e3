//! The dashboard: a live page on the metrics' port that shows how the models do.
//!
//! ```text
//! sample.rs      counters of a version, read once a second
//! history.rs     samples of the last five minutes; figures are their differences
//! snapshot.rs    what is shown at one moment: history, repository, slow requests
//! components/    HTML of each part of the page, by id; chart.rs draws
//! frame.rs       all parts at one moment, and which of them changed
//! events.rs      server-sent events for the viewers
//! page.rs        the page around the parts
//! ```
//!
//! It only reads. Text of requests and of the repository is escaped by the macro `html!`, and a
//! browser loads scripts and styles from their own addresses only.

mod chart;
mod components;
mod events;
mod format;
mod frame;
mod history;
mod page;
mod sample;
mod snapshot;

use bytes::Bytes;
use futures_util::stream;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use skysail_engine::Engine;
use std::convert::Infallible;

pub use events::Dashboard;

/// Permissions of the page in a browser: nothing but what is listed.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Static files by path, with content type and text.
const FILES: [(&str, &str, &str); 3] = [
    ("/dashboard/style.css", "text/css; charset=utf-8", include_str!("../assets/style.css")),
    ("/dashboard/script.js", "text/javascript; charset=utf-8", include_str!("../assets/script.js")),
    ("/dashboard/icon.svg", "image/svg+xml", include_str!("../assets/icon.svg")),
];

/// A response body: whole, or an endless stream of events.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The server that the dashboard shows.
pub trait Source: Send + Sync + 'static {
    /// The engine, with its models.
    fn engine(&self) -> &Engine;

    /// True if the server accepts new requests.
    fn is_ready(&self) -> bool;

    /// Memory of the process in RAM, in bytes.
    fn resident_bytes(&self) -> u64;
}

/// Errors of a request to the dashboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The path exists, for these methods only.
    #[error("this path takes {0} only")]
    WrongMethod(&'static str),
    /// The limit on viewers is reached.
    #[error("{limit} viewers watch the dashboard, its limit; try again later")]
    TooManyViewers {
        /// Most viewers at once.
        limit: usize,
    },
}

/// Route of a path of the dashboard.
#[derive(Clone, Copy, Debug)]
pub enum Route {
    /// The page.
    Page,
    /// The stream of server-sent events.
    Events,
    /// A static file: content type and text.
    File(&'static str, &'static str),
}

impl Route {
    /// The route of a path, if it is one of the dashboard's.
    pub fn at(path: &str) -> Option<Self> {
        match path {
            "/" => Some(Self::Page),
            "/dashboard/events" => Some(Self::Events),
            _ => {
                let file = FILES.into_iter().find(|(known, ..)| *known == path);
                file.map(|(_, content_type, text)| Self::File(content_type, text))
            }
        }
    }
}

impl Dashboard {
    /// Answers a request of a route. It runs on a multi-thread runtime of tokio.
    ///
    /// # Errors
    /// When the method is wrong, or there are too many viewers.
    pub fn respond(&self, route: Route, method: &Method) -> Result<Response<Body>, Error> {
        let reads = [Method::GET, Method::HEAD].contains(method);
        let mut response = match route {
            Route::Events if *method == Method::GET => self.events()?,
            Route::Events => return Err(Error::WrongMethod("GET")),
            _ if !reads => return Err(Error::WrongMethod("GET, HEAD")),
            Route::Page => {
                // It takes milliseconds, which other connections of this thread need not wait for.
                let frame = tokio::task::block_in_place(|| self.frame());
                whole("text/html; charset=utf-8", page::page(&frame).into_string())
            }
            Route::File(content_type, text) => whole(content_type, text),
        };
        add_security_headers(response.headers_mut());
        Ok(response)
    }

    /// A stream of changes, for as long as it is read.
    fn events(&self) -> Result<Response<Body>, Error> {
        let viewer = self.watch()?;
        let frames = stream::unfold(viewer, |mut viewer| async move {
            let events = viewer.next().await?;
            Some((Ok(Frame::data(events)), viewer))
        });
        Ok(of_type("text/event-stream", StreamBody::new(frames).boxed_unsync()))
    }
}

/// Adds the headers that every response of the dashboard has, errors included.
pub fn add_security_headers(headers: &mut HeaderMap) {
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

fn whole(content_type: &'static str, text: impl Into<Bytes>) -> Response<Body> {
    of_type(content_type, Full::new(text.into()).boxed_unsync())
}

fn of_type(content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
